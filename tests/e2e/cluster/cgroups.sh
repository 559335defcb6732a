# The control groups that the nodes' containers live in, one per node, for cgroup v1 and v2; sourced by cluster.sh.

CGROUPS=/sys/fs/cgroup

cgroup_version() { if [ "$(stat -fc %T $CGROUPS)" = cgroup2fs ]; then echo 2; else echo 1; fi; }

# cgroup_make NAME
cgroup_make() {
  local name=$1 controller
  if [ "$(cgroup_version)" = 2 ]; then
    for controller in $(kubelet_controllers); do cgroup_enable "$controller"; done
    mkdir -p "$CGROUPS/$name"
  else
    for controller in "$CGROUPS"/*/; do mkdir -p "$controller$name"; done
    # A new cpuset is empty, and no process can enter it.
    for controller in cpus mems; do
      [ ! -e "$CGROUPS/cpuset/cpuset.$controller" ] ||
        cat "$CGROUPS/cpuset/cpuset.$controller" > "$CGROUPS/cpuset/$name/cpuset.$controller"
    done
  fi
}

# Version 2: what kubelet wants to see in its root group, as far as this kernel has it.
kubelet_controllers() {
  local controller
  for controller in cpu cpuset memory pids hugetlb io; do
    if grep -qw "$controller" "$CGROUPS/cgroup.controllers"; then echo "$controller"; fi
  done
}

# Children of the root have a controller only where the root passes it on. What is passed on for us is recorded,
# and taken back by the last run.
cgroup_enable() {
  if grep -qw "$1" "$CGROUPS/cgroup.subtree_control"; then return; fi
  echo "+$1" > "$CGROUPS/cgroup.subtree_control" ||
    die "cannot pass the cgroup controller '$1' on: processes live in the root of this cgroup namespace (a container?); move them to a group of their own first"
  echo "controller $1" >> "$REGISTER/made"
}

# cgroup_remove PATTERN: groups of ended nodes. Processes that were just killed leave a moment later.
cgroup_remove() {
  local group tries
  # shellcheck disable=SC2231  # a pattern
  for group in "$CGROUPS"/$1 "$CGROUPS"/*/$1; do
    [ -d "$group" ] || continue
    for tries in 1 2 3 4 5 6 7 8 9 10; do
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [ -d "$group" ] || break
      sleep 0.5
    done
    [ ! -d "$group" ] || say "cgroup $group is still in use"
  done
}
