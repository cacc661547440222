#!/bin/sh
# Debian's Slurm and munge, where they are missing.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
missing=
for program in munged slurmctld slurmd sbatch; do
	command -v "$program" >/dev/null || missing="$missing $program"
done
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null || { echo "missing:$missing; without apt-get, install Slurm and munge yourself" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || { echo "missing:$missing; only root can install slurm-wlm and munge: sudo sh $0" >&2; exit 1; }
apt-get update --quiet=2
DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends slurm-wlm munge
