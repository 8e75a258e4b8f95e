#!/bin/bash
# Starts and stops a small Slurm cluster on this machine, from Debian's packages slurm-wlm and munge, without systemd; as root.
#
#   slurm.sh start DIR [NODES]   two nodes of one core unless told otherwise; everything lies in DIR, SLURM_CONF=DIR/slurm.conf
#   slurm.sh node DIR NAME       starts the daemon of one node (again)
#   slurm.sh kill DIR NAME       kills the daemon of a node and what runs there, as a machine that loses its power does
#   slurm.sh stop DIR
set -euo pipefail
command=$1 dir=$2
export SLURM_CONF=$dir/slurm.conf

# Ports that are free now: one for the controller and one for each node.
free_ports() {
	python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PYTHON
}

configure() {
	local ports nodes=$1
	read -r -a ports <<<"$(free_ports $((nodes + 1)))"
	cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool.%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0,requeue_delay=1
ReturnToService=2
SlurmdTimeout=10
KillWait=10
MinJobAge=300
CONF
	for ((i = 1; i <= nodes; i++)); do
		echo "NodeName=node$i NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=${ports[$i]} CPUs=1 RealMemory=4000 State=UNKNOWN" >>"$SLURM_CONF"
	done
	echo "PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP" >>"$SLURM_CONF"
}

start_munge() {
	dd if=/dev/urandom of="$dir/munge.key" bs=1024 count=1 status=none
	chmod 600 "$dir/munge.key"
	# munged wants a socket in a folder that all may enter and files that are its own.
	munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" --log-file="$dir/munged.log" --seed-file="$dir/munge.seed" 2>>"$dir/munged.log"
}

# The processes that jobs run on a node of this cluster.
tasks_of() {
	local environ
	for environ in /proc/[0-9]*/environ; do
		if grep -q -z -x "SLURM_CONF=$SLURM_CONF" "$environ" 2>/dev/null && grep -q -z -x "SLURMD_NODENAME=$1" "$environ" 2>/dev/null; then
			environ=${environ#/proc/}
			echo "${environ%/environ}"
		fi
	done
}

start_node() { slurmd -N "$1"; }

case $command in
start)
	nodes=${3:-2}
	mkdir -p "$dir/state"
	chmod 755 "$dir"
	configure "$nodes"
	start_munge
	slurmctld
	for ((i = 1; i <= nodes; i++)); do start_node "node$i"; done
	for ((i = 0; i < 300; i++)); do
		[ "$(sinfo --noheader --Node --format=%T | grep -c -E 'idle')" = "$nodes" ] && exit 0
		sleep .1
	done
	echo "nodes don't come up:" >&2
	sinfo >&2
	exit 1
	;;
node) start_node "$3" ;;
kill)
	# First the daemons, then what they run: a step's daemon that outlives its task would report the task as failed, which a dead
	# machine doesn't. Tasks come and go, so wait for one.
	for ((i = 0; i < 300; i++)); do
		daemons= tasks=
		for pid in $(tasks_of "$3"); do
			parent=$(ps -o ppid= -p "$pid" | tr -d ' ') || continue
			case $(ps -o comm= -p "$parent") in slurmstepd*) daemons+=" $parent" tasks+=" $pid" ;; esac
		done
		[ -n "$tasks" ] && break
		sleep .1
	done
	kill -9 $daemons "$(cat "$dir/slurmd.$3.pid")" $tasks 2>/dev/null || true
	;;
stop)
	for file in "$dir"/slurm*.pid "$dir"/munged.pid; do
		[ -e "$file" ] || continue
		pid=$(cat "$file")
		kill "$pid" 2>/dev/null || continue
		for ((i = 0; i < 100; i++)); do
			case $(ps -o stat= -p "$pid") in "" | Z*) break ;; esac # gone, or not yet reaped
			sleep .1
		done
	done
	;;
*)
	sed -n '2,9p' "$0" >&2
	exit 2
	;;
esac
