#!/bin/sh
# Puts both images and the chart into a kind cluster, which is made if it is missing. Needs Docker, kind and Helm.
#   KIND_CLUSTER   its name (default: b3lb)
set -eu
cd "$(dirname "$0")/.."
name=${KIND_CLUSTER:-b3lb}
namespace=b3lb

die() { printf 'kind: %s\n' "$*" >&2; exit 1; }

for program in docker kind helm; do
  command -v "$program" >/dev/null || die "$program is missing: make kind needs Docker, kind and Helm"
done
docker info >/dev/null 2>&1 || die "Docker does not answer: start it, or allow this user to use it"

version=$(.venv/bin/python -c 'import b3lb; print(b3lb.__version__)')
.venv/bin/python -m dev.images
kind get clusters 2>/dev/null | grep -qx "$name" ||
  kind create cluster --name "$name" --config kind-config.yaml --wait 180s
kind load docker-image --name "$name" "b3lb:$version" "b3lb-pypy:$version"

kubectl() { .venv/bin/kubectl --context "kind-$name" "$@"; }
kubectl get namespace "$namespace" >/dev/null 2>&1 || kubectl create namespace "$namespace"
kubectl label --overwrite namespace "$namespace" pod-security.kubernetes.io/enforce=restricted
helm upgrade --install b3lb charts/b3lb --kube-context "kind-$name" --namespace "$namespace" --wait --timeout 5m
printf 'kind: ready; kubectl --context kind-%s -n %s get b3lb; kind delete cluster --name %s takes it away\n' \
  "$name" "$namespace" "$name"
