#!/usr/bin/env bash
# Makes the Python environment of fruits_pipeline on a node of a cluster. An EMR bootstrap action: runs on every node,
# also on those that managed scaling adds later, before Spark is installed. See usage() below, or --help.
set -Eeuo pipefail
umask 022 # yarn and hadoop must be able to read what root installs

usage() {
  cat <<'HELP'
bootstrap-emr.sh: makes the Python environment of fruits_pipeline on a node, from pinned, hash-checked packages.

  bootstrap-emr.sh --wheel=SOURCE --requirements=SOURCE [options]

SOURCE is s3://bucket/key or a local path. Options may also be written as two words (--wheel SOURCE).

  --wheel=SOURCE                 the project's wheel
  --requirements=SOURCE          pip requirements with versions and --hash for every package; neither pyspark (EMR brings
                                 its own) nor TensorFlow (only the machine that exports the encoder needs it)
  --primary-requirements=SOURCE  those of the primary node (with JupyterLab); otherwise --requirements counts there too
  --wheelhouse=SOURCE            folder of wheels; packages come from there only, no index is asked
  --project=SOURCE               .tar.gz that the primary node unpacks to --project-dir: pyproject.toml, conf, notebooks
  --project-dir=DIR              default /home/hadoop/fruits
  --event-logs=SOURCE            folder that Spark's event logs go to; the primary node makes it (Spark does not)
  --env=NAME=VALUE               set in the shells of the primary node; may be repeated
  --profile=FILE                 where these are written; default /etc/profile.d/fruits.sh
  --prefix=DIR                   default /opt/fruits: a link to the environment, DIR-<fingerprint>
  --python=COMMAND               default python3.11
  --spark-home=DIR               default /usr/lib/spark: the environment imports pyspark from there
  --instance-info=FILE           default /mnt/var/lib/info/instance.json: says whether this is the primary node
  --min-disk=MB                  free space asked for, default 2000
  --log=FILE                     default /var/log/fruits-bootstrap.log (not as root: $TMPDIR/fruits-bootstrap.log)
  --help

A second run with the same wheel, requirements and Python does nothing. A run with others makes a new environment beside
the old one and then moves the link, so that nobody ever sees half of one. Exit code: 0 done, 2 wrong arguments, 1 else.
HELP
}

STEP="start"
LOG=""
WORK=""       # copies of the inputs
UNFINISHED="" # an environment that is not complete yet
MARK=.fruits-environment # in every folder that this script may remove
WITHOUT_WHEEL=antlr4-python3-runtime # OmegaConf's parser is published as source only; it is plain Python

log() {
  local line
  line="$(date -u +%Y-%m-%dT%H:%M:%SZ) $*"
  echo "$line"
  if [[ -n "$LOG" ]]; then echo "$line" >>"$LOG"; fi
}

# die CODE MESSAGE: what failed, and what mends it.
die() {
  trap - ERR
  log "FAILED ($STEP): $2" >&2
  exit "$1"
}

failed() {
  local code=$? line=$1
  die 1 "exit code $code in line $line of this script. The lines above say why; on EMR they are also in \
<LogUri>/<cluster>/node/<instance>/bootstrap-actions/1/."
}
trap 'failed "$LINENO"' ERR

# What a failed run leaves: nothing.
clean_up() {
  rm -rf "$WORK"
  if [[ -n "$UNFINISHED" ]]; then rm -rf "$UNFINISHED"; fi
}

# Runs a command and logs what it prints, with times.
logged() {
  local code=0
  { "$@" 2>&1 | while IFS= read -r line; do log "  $line"; done; } || code=$?
  if [[ $code -ne 0 ]]; then log "  exit code $code of: $*"; fi
  return "$code"
}

# ---- Arguments ---------------------------------------------------------------------------------------------------------

parse() {
  WHEEL="" REQUIREMENTS="" PRIMARY_REQUIREMENTS="" WHEELHOUSE="" PROJECT="" EVENT_LOGS=""
  PROJECT_DIR=/home/hadoop/fruits PROFILE=/etc/profile.d/fruits.sh PREFIX=/opt/fruits PYTHON=python3.11
  SPARK_HOME_DIR=/usr/lib/spark INSTANCE_INFO=/mnt/var/lib/info/instance.json MIN_DISK=2000
  LOG_FILE="${TMPDIR:-/tmp}/fruits-bootstrap.log"
  if [[ $EUID -eq 0 ]]; then LOG_FILE=/var/log/fruits-bootstrap.log; fi
  ENVIRONMENT=()
  while [[ $# -gt 0 ]]; do
    case "$1" in
      --help | -h)
        usage
        exit 0
        ;;
      --*=*)
        set_option "${1%%=*}" "${1#*=}"
        shift
        ;;
      --*)
        [[ $# -ge 2 ]] || die 2 "$1 needs a value. See --help."
        set_option "$1" "$2"
        shift 2
        ;;
      *) die 2 "I do not know what to do with '$1'. See --help." ;;
    esac
  done
  [[ -n "$WHEEL" ]] || die 2 "--wheel is missing. See --help."
  [[ -n "$REQUIREMENTS" ]] || die 2 "--requirements is missing. See --help."
  [[ "$PREFIX" == /* ]] || die 2 "--prefix must be an absolute path, not '$PREFIX'."
  [[ "$MIN_DISK" =~ ^[0-9]+$ ]] || die 2 "--min-disk must be a number of MB, not '$MIN_DISK'."
}

set_option() {
  case "$1" in
    --wheel) WHEEL="$2" ;;
    --requirements) REQUIREMENTS="$2" ;;
    --primary-requirements) PRIMARY_REQUIREMENTS="$2" ;;
    --wheelhouse) WHEELHOUSE="${2%/}" ;;
    --project) PROJECT="$2" ;;
    --project-dir) PROJECT_DIR="$2" ;;
    --event-logs) EVENT_LOGS="${2%/}" ;;
    --env)
      [[ "$2" =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || die 2 "--env wants NAME=VALUE, not '$2'."
      ENVIRONMENT+=("$2")
      ;;
    --profile) PROFILE="$2" ;;
    --prefix) PREFIX="${2%/}" ;;
    --python) PYTHON="$2" ;;
    --spark-home) SPARK_HOME_DIR="$2" ;;
    --instance-info) INSTANCE_INFO="$2" ;;
    --min-disk) MIN_DISK="$2" ;;
    --log) LOG_FILE="$2" ;;
    *) die 2 "There is no option $1. See --help." ;;
  esac
}

# ---- Is this node fit? -------------------------------------------------------------------------------------------------

check_python() {
  STEP="check Python"
  command -v "$PYTHON" >/dev/null || die 1 "There is no $PYTHON on this node. EMR 7 and 8 have python3.11; choose one with --python."
  "$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
    || die 1 "$PYTHON is $("$PYTHON" -V 2>&1); fruits_pipeline needs Python 3.11, 3.12 or 3.13. Choose one with --python."
  "$PYTHON" -c 'import venv, ensurepip' \
    || die 1 "$PYTHON has no venv or no ensurepip. Install them (Amazon Linux: dnf install python3.11-pip; Debian: python3-venv)."
}

# The nearest folder above a path that is there already.
folder_above() {
  local folder
  folder=$(dirname "$1")
  while [[ ! -d "$folder" ]]; do folder=$(dirname "$folder"); done
  echo "$folder"
}

check_disk() {
  STEP="check disk"
  local folder free
  folder=$(folder_above "$1")
  free=$(df -Pm "$folder" | awk 'NR == 2 { print $4 }')
  [[ "$free" -ge "$MIN_DISK" ]] \
    || die 1 "$folder has $free MB free, $MIN_DISK are needed. Give the nodes a larger root volume (EbsRootVolumeSize in cluster.yaml)."
}

# Prints yes or no.
is_primary() {
  [[ -f "$INSTANCE_INFO" ]] || { echo no && return; }
  "$PYTHON" -c 'import json, sys; print("yes" if json.load(open(sys.argv[1])).get("isMaster") else "no")' "$INSTANCE_INFO"
}

# ---- Inputs ------------------------------------------------------------------------------------------------------------

# fetch SOURCE FOLDER: copies a file, under its own name.
fetch() {
  STEP="fetch $1"
  local target
  target="$2/$(basename "$1")"
  case "$1" in
    s3://*) from_s3 "$1" "$target" ;;
    *)
      [[ -f "$1" ]] || die 1 "There is no file $1."
      cp "$1" "$target"
      ;;
  esac
  [[ -s "$target" ]] || die 1 "$1 is empty."
}

fetch_folder() {
  STEP="fetch $1"
  case "$1" in
    s3://*) from_s3 "$1/" "$2" --recursive ;;
    *)
      [[ -d "$1" ]] || die 1 "There is no folder $1."
      cp -R "$1/." "$2"
      ;;
  esac
  [[ -n "$(ls -A "$2")" ]] || die 1 "$1 is empty. Upload the wheels there (kedro emr upload), or leave --wheelhouse out."
}

from_s3() {
  command -v aws >/dev/null || die 1 "There is no aws command on this node, which s3:// sources need."
  local attempt
  for attempt in 1 2 3; do
    if logged aws s3 cp --only-show-errors "$@"; then return; fi
    log "  attempt $attempt of 3 failed"
    sleep "$((attempt * ${FRUITS_RETRY_SECONDS:-5}))"
  done
  die 1 "$1 could not be read. Is it uploaded (kedro emr upload), may the node's role read it (DataAccess in storage.yaml), \
and does the subnet have a way to S3 (S3Endpoint in cluster.yaml)?"
}

check_requirements() {
  STEP="check requirements"
  local unwanted name
  name=$(basename "$1")
  unwanted=$(grep -iEo '^(pyspark|tensorflow|keras|tf2onnx)([-_][a-z-]+)?==[^ ]+' "$1" | paste -sd' ' || true)
  [[ -z "$unwanted" ]] || die 1 "$name pins $unwanted. EMR brings its own pyspark, and workers run ONNX Runtime: leave them out."
  grep -q -- '--hash=sha256:' "$1" || die 1 "$name has no hashes. Make it with make lock."
}

fingerprint() {
  { "$PYTHON" -VV && cat "${BASH_SOURCE[0]}" "$@" && echo "$SPARK_HOME_DIR"; } | sha256sum | cut -c1-16
}

# The lines of one package in a requirements file.
requirement() {
  awk -v name="$1==" 'index($0, name) == 1 { found = 1 } found { print } found && !/\\$/ { exit }' "$2"
}

# ---- The environment ---------------------------------------------------------------------------------------------------

build() {
  local home=$1 wheel=$2 requirements=$3 pip install site
  STEP="make $home"
  UNFINISHED=$home
  rm -rf "$home" # what an interrupted run left
  mkdir -p "$home"
  touch "$home/$MARK"
  logged "$PYTHON" -m venv "$home"
  pip=("$home/bin/python" -m pip --disable-pip-version-check --no-input)
  install=("${pip[@]}" install --quiet --no-cache-dir --no-deps)

  STEP="install packages"
  # What builds the one package without a wheel comes first, hash-checked like all others: pip would otherwise fetch a
  # setuptools of its own choice.
  requirement setuptools "$requirements" >"$WORK/first.txt"
  if [[ -s "$WORK/first.txt" ]]; then
    logged "${install[@]}" --require-hashes --only-binary=:all: "${INDEX[@]}" --requirement "$WORK/first.txt"
  fi
  logged "${install[@]}" --require-hashes --only-binary=:all: "--no-binary=$WITHOUT_WHEEL" --no-build-isolation \
    "${INDEX[@]}" --requirement "$requirements"
  STEP="install the project"
  logged "${install[@]}" --no-index "$wheel"
  STEP="check that nothing is missing" # --no-deps takes the requirements at their word
  logged "${pip[@]}" check

  STEP="find EMR's pyspark"
  site=$("$home/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  # Spark is installed after this script, so the path is looked up at each start of Python.
  printf '%s\n' "import glob, sys; sys.path += [p for p in glob.glob('$SPARK_HOME_DIR/python/lib/py4j-*-src.zip')\
 + glob.glob('$SPARK_HOME_DIR/python') if p not in sys.path]" >"$site/emr-spark.pth"

  STEP="import the project"
  logged "$home/bin/python" -c 'import fruits_pipeline; print("fruits_pipeline", fruits_pipeline.__version__)'
  touch "$home/.complete"
  UNFINISHED=""
}

# The link is replaced in one step: there is always an environment, the old or the new one. The old one stays for the
# processes that run in it; older ones go.
switch_to() {
  STEP="switch $PREFIX"
  local old folder
  old=$(readlink "$PREFIX" || true)
  ln -sfn "$1" "$PREFIX.new"
  mv -T "$PREFIX.new" "$PREFIX"
  for folder in "$PREFIX"-*; do
    if [[ -f "$folder/$MARK" && "$folder" != "$1" && "$folder" != "$old" ]]; then rm -rf "$folder"; fi
  done
}

make_environment() {
  local wheel=$1 requirements=$2 home
  home="$PREFIX-$(fingerprint "$wheel" "$requirements")"
  if [[ -e "$PREFIX" && ! -L "$PREFIX" ]]; then
    die 1 "$PREFIX is there and not made by this script. Remove it, or choose another --prefix."
  fi
  if [[ -f "$home/.complete" ]]; then
    log "$home is there already: nothing to install"
    if [[ "$(readlink "$PREFIX")" != "$home" ]]; then switch_to "$home"; fi
    return
  fi
  check_disk "$PREFIX"
  INDEX=()
  if [[ -n "$WHEELHOUSE" ]]; then
    mkdir "$WORK/wheelhouse"
    fetch_folder "$WHEELHOUSE" "$WORK/wheelhouse"
    INDEX=(--no-index "--find-links=$WORK/wheelhouse")
  fi
  log "making $home"
  mkdir -p "$(dirname "$PREFIX")"
  build "$home" "$wheel" "$requirements"
  switch_to "$home"
  log "$PREFIX is ready: $(du -sm "$home" | cut -f1) MB"
}

# ---- The primary node --------------------------------------------------------------------------------------------------

make_event_logs() {
  STEP="make $EVENT_LOGS"
  local rest=${EVENT_LOGS#s3://}
  case "$EVENT_LOGS" in
    "") ;;
    s3://*) logged aws s3api put-object --bucket "${rest%%/*}" --key "${rest#*/}/" ;;
    *) mkdir -p "$EVENT_LOGS" ;;
  esac
}

# Shells of the primary node find kedro, EMR's Spark and the bucket. PATH at its end: EMR's scripts keep their python3.
write_profile() {
  STEP="write $PROFILE"
  local pair
  {
    echo "export PATH=\"\$PATH:$PREFIX/bin\""
    printf 'export %s=%q\n' SPARK_HOME "$SPARK_HOME_DIR" PYSPARK_PYTHON "$PREFIX/bin/python" KEDRO_DISABLE_TELEMETRY 1
    for pair in "${ENVIRONMENT[@]}"; do printf 'export %s=%q\n' "${pair%%=*}" "${pair#*=}"; done
  } >"$PROFILE"
}

unpack_project() {
  [[ -n "$PROJECT" ]] || return 0
  fetch "$PROJECT" "$WORK"
  STEP="unpack $PROJECT"
  mkdir -p "$PROJECT_DIR/src" # Kedro wants it, though the package comes from the wheel
  logged tar --no-same-owner -xzf "$WORK/$(basename "$PROJECT")" -C "$PROJECT_DIR"
  if id hadoop >/dev/null 2>&1; then chown -R hadoop: "$PROJECT_DIR"; fi
}

# People come through Session Manager. Without its agent the cluster works all the same, so this is no error.
start_session_agent() {
  command -v systemctl >/dev/null || return 0
  systemctl is-active --quiet amazon-ssm-agent 2>/dev/null || systemctl enable --now amazon-ssm-agent >/dev/null 2>&1 \
    || log "warning: no amazon-ssm-agent: kedro emr ui will not reach this node"
}

# ---- All of it ---------------------------------------------------------------------------------------------------------

main() {
  parse "$@"
  if [[ $EUID -ne 0 && ! -w "$(folder_above "$PREFIX")" ]]; then
    sudo -n true 2>/dev/null || die 1 "$PREFIX may not be written, and sudo asks for a password. Choose another --prefix."
    exec sudo -n bash "${BASH_SOURCE[0]}" "$@" # EMR runs bootstrap actions as hadoop, who may
  fi
  LOG=$LOG_FILE
  local seconds=$SECONDS requirements=$REQUIREMENTS primary
  log "start on $(hostname), log in $LOG"
  check_python
  STEP="read $INSTANCE_INFO"
  primary=$(is_primary)
  if [[ $primary == yes ]]; then requirements=${PRIMARY_REQUIREMENTS:-$REQUIREMENTS}; fi
  WORK=$(mktemp -d)
  trap clean_up EXIT
  fetch "$WHEEL" "$WORK"
  fetch "$requirements" "$WORK"
  check_requirements "$WORK/$(basename "$requirements")"
  make_environment "$WORK/$(basename "$WHEEL")" "$WORK/$(basename "$requirements")"
  if [[ $primary == yes ]]; then
    log "this is the primary node"
    unpack_project
    write_profile
    make_event_logs
    start_session_agent
  fi
  log "done in $((SECONDS - seconds)) s"
}

main "$@"
