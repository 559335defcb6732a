#!/usr/bin/env bash
# Ends with a clear message if a program is missing: need.sh PROGRAM WHAT_TO_DO
command -v "$1" >/dev/null || { echo "$1 is missing: $2" >&2; exit 1; }
