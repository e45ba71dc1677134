# Sourced by tools/test and .ci/run: runs one step, shows one line with its time, and keeps its
# output in build/logs. A failed step shows the end of its log and ends the script.
#
#   step NAME COMMAND [ARGUMENT...]

# Compilers of heavy units want about 1.5 GB each: as many jobs as cores and memory allow.
build_jobs() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable/ { print int($2 / 1500000) }' /proc/meminfo 2>/dev/null || true)
  memory=${memory:-1}
  if [ "$memory" -lt "$cores" ]; then cores=$memory; fi
  if [ "$cores" -lt 1 ]; then cores=1; fi
  echo "$cores"
}

step() {
  local name=$1 log start
  shift
  log=build/logs/${name// /-}.log
  mkdir -p build/logs
  printf '%-28s' "$name"
  start=$(date +%s)
  if "$@" >"$log" 2>&1 </dev/null; then
    printf 'ok  %5d s  %s\n' $(($(date +%s) - start)) "$(step_summary "$log")"
  else
    printf 'FAILED %d s, the end of %s:\n' $(($(date +%s) - start)) "$log"
    grep -aE 'error:|FAILED|\*\*\*' "$log" | tail -n 20 || true
    tail -n 40 "$log"
    exit 1
  fi
}

# What ctest counted, if the log has it.
step_summary() { sed -n 's/.*% tests passed, \(.*\)/\1/p' "$1" | tail -n 1; }
