# A "machine": namespaces for network, mounts and processes around a holder, the machine's process 1.
# All its mounts, interfaces and processes live there, so that the end of the holder is the end of the machine,
# as if its plug had been pulled, and nothing of it stays on the host. Sourced by cluster.sh.

# Runs a command in a session of its own, without files the caller has open: neither its locks nor its pipes wait for us.
detached() {
  local file
  for file in "/proc/$BASHPID/fd"/*; do
    if [ "${file##*/}" -gt 2 ]; then eval "exec ${file##*/}>&-"; fi
  done
  exec setsid "$@"
}

# machine_start RUN DIR NAME SETUP: starts machine NAME with its files in DIR/NAME; SETUP is shell code that process 1
# runs first, with the machine's folder as $1.
machine_start() {
  local run=$1 dir=$2/$3 name=$3 setup=$4 parent
  mkdir -p "$dir/log"
  rm -f "$dir/ready" "$dir/holder"
  # $0 names run and machine in the process list; sweep finds holders by it. The shell reaps orphans.
  detached unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private \
    bash -c "set -e; mount --make-rshared /; $setup
      touch \"\$1/ready\"; trap 'exit 0' TERM INT; set +e; while :; do sleep 86400 & wait \$!; done" \
    "kvass-e2e:$run:$name" "$dir" >"$dir/log/machine.log" 2>&1 </dev/null &
  parent=$!
  disown $!
  wait_for 10 "start of machine $name (see $dir/log/machine.log)" test -e "$dir/ready"
  tr -d ' \n' < "/proc/$parent/task/$parent/children" > "$dir/holder"
}

# The process id of a machine's holder, as the host sees it; fails when it is gone. The number alone could long
# belong to another process.
machine_pid() {
  local pid
  pid=$(cat "$1/$2/holder" 2>/dev/null) && is_holder "$pid" "$(basename "$1")" && echo "$pid"
}
is_holder() { tr '\0' '\n' 2>/dev/null < "/proc/${1:-none}/cmdline" | grep -q "^kvass-e2e:$2:"; }

# in_machine DIR NAME COMMAND…
in_machine() {
  local pid
  pid=$(machine_pid "$1" "$2") || die "machine $2 is not running"
  # Not `ip netns exec`: that mounts /sys anew and so hides the cgroups.
  nsenter -t "$pid" --net --mount --pid -- "${@:3}"
}

# machine_kill DIR NAME
machine_kill() {
  local pid
  if pid=$(machine_pid "$1" "$2"); then
    kill -9 "$pid" 2>/dev/null || true
    wait_for 20 "end of machine $2" bash -c "! kill -0 $pid"
  fi
  rm -f "$1/$2/holder" "$1/$2"/*.pid
}

# program_start DIR MACHINE PROGRAM [COMMAND…]: without a command as it was started before.
program_start() {
  local dir=$1/$2 program=$3 pid
  if [ $# -gt 3 ]; then printf '%q ' "${@:4}" > "$dir/$program.command"; fi
  [ -s "$dir/$program.command" ] || die "$2 has no program '$program'; it has: $(cd "$dir" && ls -- *.command | sed 's/\.command//' | tr '\n' ' ')"
  if program_alive "$1" "$2" "$program"; then die "$program is running"; fi
  pid=$(machine_pid "$1" "$2") || die "machine $2 is not running"
  rm -f "$dir/$program.pid"
  # The recorded id is the one inside: it cannot name a process of anybody else.
  # shellcheck disable=SC2016
  detached nsenter -t "$pid" --net --mount --pid -- bash -c 'echo $$ > "$1"; eval "exec $(cat "$2")"' \
    program "$dir/$program.pid" "$dir/$program.command" >>"$dir/log/$program.log" 2>&1 </dev/null &
  disown $!
  wait_for 5 "start of $program" test -s "$dir/$program.pid"
}

program_alive() {
  local pid
  pid=$(cat "$1/$2/$3.pid" 2>/dev/null) && in_machine "$1" "$2" kill -0 "$pid" 2>/dev/null
}

# program_stop DIR MACHINE PROGRAM: at once, as a crash. (The API server would wait a minute for its watches.)
program_stop() {
  local pid
  pid=$(cat "$1/$2/$3.pid" 2>/dev/null) || die "$2 does not run '$3'"
  in_machine "$1" "$2" kill -9 "$pid" || true
  wait_for 10 "end of $3" bash -c "! nsenter -t $(machine_pid "$1" "$2") --pid --mount -- kill -0 $pid"
  rm -f "$1/$2/$3.pid"
}
