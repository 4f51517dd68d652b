# Refuses a database outside of the volume, and a new one beside one that the volume holds already.
# Arguments: where the volume is, a file with all mounts. PGDATA: the directory that the server will use.
volume="$1"
lost="so the data would be gone with the pod: set another PGDATA in database.bundled.extraEnv, or none."
case "$PGDATA/" in
  "$volume"/*) ;;
  *)
    echo "The directory PGDATA, $PGDATA, is not in the volume at $volume, $lost" >&2
    exit 1
    ;;
esac
# The images of PostgreSQL 17 and older have a volume of their own at /var/lib/postgresql/data.
while read -r _ place _; do
  case "$place/:$PGDATA/" in
    "$volume"/?*:"$place"/*)
      echo "The directory PGDATA, $PGDATA, is in a volume of the image, $place, $lost" >&2
      exit 1
      ;;
  esac
done <"$2"
if [ -s "$PGDATA/PG_VERSION" ]; then
  exit 0
fi
for found in "$volume" "$volume"/* "$volume"/*/*; do
  if [ -s "$found/PG_VERSION" ] && [ -d "$found/global" ]; then
    read -r version <"$found/PG_VERSION"
    echo "The volume holds a database of PostgreSQL $version in $found, and none in $PGDATA, which would begin empty." \
      "To use it, set database.bundled.extraEnv to [{name: PGDATA, value: $found}] and database.bundled.image to" \
      "that version." >&2
    exit 1
  fi
done
