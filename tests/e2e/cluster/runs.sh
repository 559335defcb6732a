# Runs: what exists, whose it is, and their end; sourced by cluster.sh.

# Folders that programs want at fixed places. Each machine mounts something of its own over them.
MOUNT_POINTS=(/var/lib/kubelet /var/lib/cni /tmp/hostpath_pv)

# Registers a new run and prints its folder.
run_new() {
  local run dir point
  run=$(od -An -N3 -tx1 /dev/urandom | tr -d ' \n')
  dir=$E2E_HOME/runs/$run
  mkdir -p "$dir" "$REGISTER"
  # Started by a program (E2E_OWNER), a run ends with it, at the latest when the next one comes; by hand, with `down`.
  if [ -n "${E2E_OWNER:-}" ]; then echo "$E2E_OWNER $(started "$E2E_OWNER")" > "$dir/owner"; fi
  ln -s "$dir" "$REGISTER/$run"
  touch "$REGISTER/made"
  for point in "${MOUNT_POINTS[@]}"; do
    if [ ! -d "$point" ]; then
      mkdir -p "$point"
      echo "folder $point" >> "$REGISTER/made"
    fi
  done
  echo "$dir"
}

# When a process began, to tell it from a later one with the same id.
started() { cut -d')' -f2 < "/proc/$1/stat" 2>/dev/null | cut -d' ' -f21; }

run_orphaned() {
  local pid start
  [ -s "$1/owner" ] || return 1
  read -r pid start < "$1/owner"
  [ "$(started "$pid" || true)" != "$start" ]
}

# down RUN: ends its machines and removes all of it.
down() {
  local run=$1 dir holder
  # By name rather than by record: also what a killed script had not written down yet.
  for holder in $(holders_of "$run"); do kill -9 "$holder" 2>/dev/null || true; done
  wait_for 30 "end of run $run's machines" bash -c "$(declare -f holders_of is_holder); [ -z \"\$(holders_of $run)\" ]"
  cgroup_remove "kvass-e2e-$run-*"
  dir=$(readlink -f "$REGISTER/$run" 2>/dev/null || true)
  if [ -n "$dir" ] && [ "$(basename "$dir")" = "$run" ]; then rm -rf --one-file-system "$dir"; fi
  locked run_forget "$run"
  say "run $run is gone"
}
holders_of() {
  local process
  for process in /proc/[0-9]*; do
    if is_holder "${process#/proc/}" "$1"; then echo "${process#/proc/}"; fi
  done
}

# The last run takes back what was made for all.
run_forget() {
  local kind what
  rm -f "$REGISTER/$1"
  [ -d "$REGISTER" ] && [ -z "$(find "$REGISTER" -type l)" ] || return 0
  while read -r kind what; do
    case $kind in
      folder) rmdir "$what" 2>/dev/null || say "$what is not empty and stays" ;;
      controller) echo "-$what" > "$CGROUPS/cgroup.subtree_control" || true ;;
    esac
  done < <(tac "$REGISTER/made")
  rm -rf "$REGISTER"
  rmdir "$E2E_HOME/runs" 2>/dev/null || true
}

# down_owned: ends the runs of our owner, also one that was still coming up.
down_owned() {
  local link pid start
  for link in "$REGISTER"/*; do
    [ -L "$link" ] || continue
    read -r pid start < "$link/owner" 2>/dev/null || continue
    if [ "$pid" = "${E2E_OWNER:?}" ] && [ "$start" = "$(started "$pid")" ]; then down "$(basename "$link")"; fi
  done
}

# sweep: ends runs whose owner is gone, or whose folder or machines are.
sweep() {
  local link run dir
  for link in "$REGISTER"/*; do
    [ -L "$link" ] || continue
    run=$(basename "$link") dir=$(readlink "$link")
    if [ ! -d "$dir" ] || run_orphaned "$dir"; then
      say "run $run was left behind"
      down "$run"
    fi
  done
}
