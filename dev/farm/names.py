"""Names, IDs and metadata as front ends really send them: many scripts, markup characters, quotes."""

from itertools import product
from random import Random
from string import ascii_letters, ascii_lowercase, digits
from typing import Final

from dev.farm.chance import chance

_FIRST: Final = (
    "Jürgen",
    "Zoë",
    "Łukasz",
    "Søren",
    "François",
    "Åsa",
    "Nuño",
    "Ágnes",
    "Ömer",
    "Šárka",
    "Anna",
    "Ben",
    "Clara",
    "David",
    "Emma",
    "Paul",
)
_LAST: Final = (
    "Müller",
    "Żółć",
    "Ørsted",
    "Gonçalves",
    "Dvořák",
    "Nagy",
    "Çelik",
    "Björk",
    "O'Neil",
    "D'Arcy",
    "Weiß",
    "Jiménez",
    "Smith",
    "Novak",
    "Rossi",
    "Jensen",
)
_OTHER_PEOPLE: Final = (
    "王小明",
    "佐藤 花子",
    "김민준",
    "Nguyễn Thị Hương",
    "محمد علي",
    "דוד כהן",
    "अर्जुन शर्मा",
    "Мария Петренко",
    "Γιώργος Παπαδόπουλος",
    "สมชาย ใจดี",
    "Zoë 🎓",
    "👩🏽‍💻 Ada",
    'Robert "Bob" Smith',
    "Tom & Jerry",
    "<b>Guest</b>",
    "x < y > z",
    "&amp; already escaped",
    "日本語テスト-🙂-ÄÖÜ",
)

# Built once, so that a hundred thousand attendees share a few hundred strings.
PEOPLE: Final = tuple(f"{first} {last}" for first, last in product(_FIRST, _LAST)) + _OTHER_PEOPLE * 2

MEETING_NAMES: Final = (
    "Weekly Meeting",
    "Mathematik für Anfänger",
    "Q&A with the dean",
    "Analysis II <Tutorium 3>",
    'Reading group "Faust"',
    "L'heure du café",
    "Sprechstunde Prof. Müller-Lüdenscheidt",
    "量子力学の基礎",
    "线性代数 第一讲",
    "الفيزياء العامة",
    "קבוצת לימוד",
    "Физика для всех",
    "Ελληνική Φιλοσοφία",
    "🎉 Team party 🎉",
    "Room 101",
    "C++ & Rust: <templates> vs. 'traits'",
    "Home Room",
    "Demo Meeting",
)

_CUSTOM_DATA: Final[tuple[dict[str, str], ...]] = (
    {"bbb_auto_join_audio": "true"},
    {"bbb_custom_style_url": "https://lms.example.org/style.css?theme=dark&v=2", "bbb_skip_check_audio": "true"},
    {"bbb_custom_style": ":root{--color:#fff;} .title>span{content:'<&>';}"},
    {},
)
_BASE36: Final = ascii_lowercase + digits


def _token(random: Random, length: int, alphabet: str = _BASE36) -> str:
    return "".join(random.choices(alphabet, k=length))


def person(random: Random) -> str:
    """A person's full name."""
    return random.choice(PEOPLE)


def meeting_name(random: Random) -> str:
    """A meeting's name."""
    return random.choice(MEETING_NAMES)


def meeting_id(random: Random) -> str:
    """An external meeting ID in the form of one of the common front ends, unique for all practical purposes."""
    match random.randrange(4):
        case 0:
            return "-".join(_token(random, 3) for _ in range(4))
        case 1:
            return f"{_token(random, 40, '0123456789abcdef')}-{random.randrange(1, 999)}-{random.randrange(1, 9999)}"
        case 2:
            return f"{_token(random, 20)}_ünï & <{random.randrange(1, 99)}>"
        case _:
            return _token(random, 24, ascii_letters + digits)


def password(random: Random) -> str:
    """An attendee's or moderator's password."""
    return _token(random, 8, ascii_letters)


def user_id(random: Random) -> str:
    """A participant's user ID in BBB's own form."""
    return f"w_{_token(random, 12)}"


def custom_data(random: Random) -> dict[str, str] | None:
    """The user's custom data, for one user in ten."""
    return random.choice(_CUSTOM_DATA) if chance(random, 0.1) else None


def metadata(random: Random, external_id: str) -> dict[str, str]:
    """A meeting's metadata with lower-cased keys, as BBB stores and prints them; now and then empty."""
    if chance(random, 0.05):
        return {}
    origin = random.choice(("Greenlight", "Moodle", "Nextcloud", "Stud.IP & Meetings"))
    values = {
        "bbb-origin": origin,
        "bbb-origin-version": f"{random.randrange(2, 5)}.{random.randrange(10)}",
        "bbb-origin-server-name": "lms.example.org",
        "endcallbackurl": f"https://lms.example.org/end?id={_token(random, 6)}&origin=bbb",
    }
    if origin == "Greenlight":
        values["gl-listed"] = random.choice(("true", "false"))
        values["bbb-recording-ready-url"] = "https://lms.example.org/recording_ready"
    else:
        values["bbb-context"] = f"Kurs “{meeting_name(random)}”"
        values["bbb-context-id"] = external_id
    return values
