#!/bin/sh
# Makes the environment of the Makefile, or says what is missing and which package has it.
# venv.sh FOLDER [PYTHON]: without PYTHON, the first of those below that is new enough.
set -u
folder=$1
wanted=${2:-}

like=$(. "${TRIGLOT_OS_RELEASE:-/etc/os-release}" 2> /dev/null && echo " ${ID:-} ${ID_LIKE:-} ")
case "$like" in
    *" debian "* | *" ubuntu "*) python="apt install python3 python3-venv" ;;
    *" fedora "* | *" rhel "* | *" centos "*) python="dnf install python3.12" ;;
    *" alpine "*) python="apk add python3" ;;
    *" arch "*) python="pacman -S python" ;;
    *" suse "* | *" opensuse "*) python="zypper install python312" ;;
    *) python="brew install python@3.13, or see https://www.python.org/downloads" ;;
esac

seen=""
for each in ${wanted:-python3 python3.14 python3.13 python3.12 python3.11}; do
    version=$("$each" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null) || continue
    seen="$seen $each is $version;"
    "$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue
    if ! "$each" -c 'import venv, ensurepip' 2> /dev/null; then
        case "$like" in
            *" debian "* | *" ubuntu "*) python="apt install python$version-venv" ;;
        esac
        echo "$each ($version) has no venv module. Install it, and run make again: $python" >&2
        exit 1
    fi
    "$each" -m venv "$folder" && exit 0
    rm -rf "$folder"
    echo "$each could not make the environment $folder; what it said stands above" >&2
    exit 1
done
echo "Triglot needs Python 3.11 or newer;${seen:- there is none called ${wanted:-python3};}" >&2
echo "install one, and run make again: $python" >&2
echo "One that has another name: make PYTHON=/path/to/python3.12" >&2
exit 1
