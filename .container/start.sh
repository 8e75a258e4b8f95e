#!/bin/bash
# Starts a command in the image, by the contract of the Jupyter Docker stacks: root becomes the user NB_USER with the numbers NB_UID and
# NB_GID, any other user stays who it is, hooks run before. A word that is no program is a verb of raretask's.
set -eo pipefail
shopt -s nullglob

hooks() {
	for hook in "/usr/local/bin/$1"/*; do
		if [[ $hook = *.sh ]]; then . "$hook"; elif [ -x "$hook" ]; then "$hook"; fi
	done
}

# Whoever has the name or the number makes room.
make_user() {
	getent group "$NB_GID" >/dev/null || groupadd --gid "$NB_GID" "${NB_GROUP:-$NB_USER}"
	for name in $(id -nu "$NB_USER" 2>/dev/null) $(id -nu "$NB_UID" 2>/dev/null); do
		! id "$name" >/dev/null 2>&1 || userdel "$name"
	done
	useradd --no-log-init --create-home --shell /bin/bash --uid "$NB_UID" --gid "$NB_GID" "$NB_USER"
	chown "$NB_UID:$NB_GID" "/home/$NB_USER"
}

type -P -- "${1:-bash}" >/dev/null || set -- raretask "$@"
[ $# -gt 0 ] || set -- bash
# All addresses of a container are its own, and its host publishes what it chooses; but Apptainer and Singularity share the host's. So does
# docker run --network host, which can't be told from here: README says what to set.
[ -n "$APPTAINER_CONTAINER$SINGULARITY_CONTAINER" ] || export RARETASK_LISTEN="${RARETASK_LISTEN:-0.0.0.0}"
hooks start-notebook.d

become=()
if [ "$(id -u)" = 0 ]; then
	[ "$NB_UID" != 0 ] || { echo "start.sh: NB_UID=0: want the number of a user other than root" >&2; exit 2; }
	[ "$(id -u "$NB_USER" 2>/dev/null):$(id -g "$NB_USER" 2>/dev/null)" = "$NB_UID:$NB_GID" ] || make_user
	export HOME="/home/$NB_USER" USER="$NB_USER"
	become=(setpriv --reuid "$NB_UID" --regid "$NB_GID" --init-groups)
fi
hooks before-notebook.d
"${become[@]}" test -w "$HOME" || { HOME=$("${become[@]}" mktemp -d) && export HOME; }
exec "${become[@]}" tini -s -- "$@"
