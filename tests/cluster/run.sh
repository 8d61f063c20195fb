#!/usr/bin/env bash
# Start a Slurm of one node on this machine, run the tests that need it, and stop it again.
#   tests/cluster/run.sh .venv/bin/python [options of pytest]
# Needs Debian or Ubuntu and root: a container is the place for it.
set -euo pipefail
python=${1:?usage: tests/cluster/run.sh PYTHON [options of pytest]}
shift
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "tests/cluster/run.sh needs root to start munge and Slurm"; exit 1; }
command -v apt-get >/dev/null || { echo "tests/cluster/run.sh needs apt-get"; exit 1; }
if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurm-wlm munge
fi

work=$(mktemp -d)
chmod 755 "$work"
started=()
stop() {
    scancel --user=root 2>/dev/null || true
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do
        kill "${started[i]}" 2>/dev/null || true
        wait "${started[i]}" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop EXIT

# A munge of our own, so that one of the system is left alone.
mkdir "$work/munge" "$work/state" "$work/spool"
head -c 1024 /dev/urandom > "$work/munge/key"
chmod 700 "$work/munge"
chmod 600 "$work/munge/key"
munged --foreground --force --key-file="$work/munge/key" --socket="$work/munge.socket" \
    --log-file="$work/munge/log" --pid-file="$work/munge/pid" --seed-file="$work/munge/seed" \
    > "$work/munged.log" 2>&1 &
started+=($!)

host=$(hostname -s)
# Requeued jobs wait until their old credentials expire: here seconds instead of two minutes.
cat > "$work/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket,cred_expire=15
CredType=cred/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=7200
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=2,batch_sched_delay=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=$host MaxTime=INFINITE State=UP PriorityTier=2
CONF
export SLURM_CONF=$work/slurm.conf
slurmctld -D -i > "$work/slurmctld.log" 2>&1 &
started+=($!)
slurmd -D > "$work/slurmd.log" 2>&1 &
started+=($!)
for _ in $(seq 60); do
    sinfo --noheader --format=%T 2>/dev/null | grep -q idle && break
    sleep 0.5
done
if ! sinfo --noheader --format=%T | grep -q idle; then
    echo "Slurm did not start:"
    tail -n 20 "$work/munged.log" "$work/slurmctld.log" "$work/slurmd.log"
    exit 1
fi
"$python" -m pytest -m cluster tests/cluster "$@"
