package vm

// What a machine with systemd is asked. bounded starts a container of user's that
// waits, and shows its groups.
const (
	asUser  = `su mayfly-test -c `
	bounded = asUser + `"cd /; runtime run --quiet --name slow --memory 30M --tasks 20 bb -- sleep 600" &
await mayfly-test/slow; uid=$(id -u mayfly-test)
`
	// delegated begins a script of the user's in a part of the hierarchy that is
	// theirs.
	delegated = `systemd-run --quiet --pipe --wait --uid=mayfly-test --property=Delegate=yes --working-directory=/ sh -c 'own=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)
`
	nothingLeft = `
ls -A /run/mayfly /var/lib/machines/.mayfly 2>/dev/null | grep -v : | wc -w; pgrep -c mayfly-init; find /sys/fs/cgroup -name '*mayfly-*.scope' | wc -l`
)

// image makes an image of one static program.
const image = `mkdir -p /tmp/bb && cd /tmp/bb && mkdir -p bin dev etc home opt proc run sys tmp var/tmp && mkdir -p -m 0777 srv && cp /bin/busybox bin/ &&
for name in sh cat id sleep head tail md5sum true; do ln -sf busybox bin/$name; done; [ -e /var/lib/machines/bb ] || runtime image import bb /tmp/bb; runtime image list`

// (Linux 5.15 does not tell peaks: memory.peak is there since 5.19, pids.peak since
// 6.1.)
var systemdScenarios = []scenario{
	{"an image", image, []string{`(?m)^bb +1 `}},
	{"control groups", `cat /sys/fs/cgroup/cgroup.controllers; stat -fc %T /sys/fs/cgroup; ps -p 1 -o comm=`, []string{`\bmemory\b`, `\bpids\b`, `\bcpu\b`, `\bio\b`, `cgroup2fs`, `(?m)^systemd$`}},
	{"root's scope", `cd /; runtime run --quiet --memory 30M --tasks 20 --stats - bb -- cat /proc/self/cgroup`,
		[]string{`(?m)^0::/system\.slice/mayfly-0-bb-[0-9a-f]+\.scope/container$`, `"of":"container"`}},
	{"a user's scope", bounded + `runtime exec mayfly-test/slow cat /proc/self/cgroup
cd /sys/fs/cgroup/user.slice/user-$uid.slice/mayfly-$uid-slow.scope; cat container/memory.max container/pids.max; wc -l < container/cgroup.procs
systemd-cgls --no-pager -l /user.slice; ` + asUser + `"runtime kill --signal KILL slow"; wait; sleep 1; systemctl list-units --all --no-legend "mayfly-*.scope" | wc -l`,
		[]string{`(?m)^0::/user\.slice/user-\d+\.slice/mayfly-\d+-slow\.scope/container$`, `(?m)^31457280\n20\n1$`, `(?m)^0$`,
			`(?s)mayfly-\d+-slow\.scope.*container.*sleep 600`}},
	{"a group that looks like a scope", delegated + `mkdir $own/mayfly-$(id -u)-lookalike.scope; echo $$ >$own/mayfly-$(id -u)-lookalike.scope/cgroup.procs
exec runtime run --quiet --name lookalike --tasks 500 bb -- cat /proc/self/cgroup'`,
		[]string{`(?m)^0::/user\.slice/user-\d+\.slice/mayfly-\d+-lookalike\.scope/container$`}},
	{"PID 1 stays where its owner freezes nothing", `printf '[[rule]]\nimages = ["bb"]\nusers = ["mayfly-test"]\nlimits = { time = "5m" }\n' >/etc/mayfly/policy.d/10-time.toml
` + delegated + `mkdir $own/work $own/frozen; echo $$ >$own/work/cgroup.procs; echo 1 >$own/frozen/cgroup.freeze
runtime run --quiet --name kept bb -- sleep 600 & supervisor=$!
until runtime exec kept true 2>/dev/null; do sleep 0.2; done
for p in $(pgrep mayfly-init); do echo $p >$own/frozen/cgroup.procs || echo not moved; done
kill -9 $supervisor; sleep 5; pgrep -c mayfly-init'
rm /etc/mayfly/policy.d/10-time.toml; runtime gc`, []string{`(?m)^not moved$`, `(?m)^0$`}},
	{"the slice is stopped", bounded + `systemctl stop user-$uid.slice; wait; echo ended` + nothingLeft, []string{`ended\n0\n0\n0\n?$`}},
	{"killed supervisor", `cd /; runtime run --quiet --name dead --memory 30M bb -- sleep 60 & pid=$!
await dead; kill -9 $pid; wait; sleep 1; runtime gc; echo collected` + nothingLeft, []string{`collected\n0\n0\n0\n?$`}},
	{"a scope on its way out", `cd /; systemd-run --quiet --scope --unit=mayfly-0-taken sleep 3 & sleep 1; runtime run --quiet --name taken --memory 30M bb -- true; echo exit $?; wait`,
		[]string{`(?m)^exit 0$`}},
	{"a scope that stays", `cd /; systemd-run --quiet --scope --unit=mayfly-0-taken sleep 600 & sleep 1; runtime run --quiet --name taken --memory 30M bb -- true; echo exit $?; systemctl stop mayfly-0-taken.scope; wait`,
		[]string{`(?m)^runtime: .*systemd gives no scope: .*already`, `(?m)^exit 125$`}},
	{"memory hog", `uname -r; cd /; runtime run --quiet --memory 30M --stats - bb -- sh -c 'head -c 100m /dev/zero | tail -c 90m > /dev/null; echo hog $?'`,
		[]string{`hog 137`, `runtime: out of memory: the kernel killed \d+`, `\A5\.15|"memoryPeakBytes":3\d{7}\b`, `"oomKills":[1-9]`}},
	{"a batch system's job", `cat >/tmp/batch <<'SCRIPT'
own=/sys/fs/cgroup/system.slice/batch.service
mkdir $own/daemon $own/job; echo $$ >$own/daemon/cgroup.procs; echo "+memory +pids" >$own/cgroup.subtree_control
echo 60M >$own/job/memory.max; echo $$ >$own/job/cgroup.procs; cd /
for m in 1G 60M 30M; do setpriv --reuid mayfly-test --regid mayfly-test --init-groups runtime run --quiet --memory $m bb -- true; echo exit $?; done
setpriv --reuid mayfly-test --regid mayfly-test --init-groups runtime run --quiet --stats - bb -- cat /proc/self/cgroup
SCRIPT
systemd-run --quiet --wait --pipe --unit=batch --property=Delegate=yes sh /tmp/batch 2>&1`,
		[]string{`(?m)^exit 0\nexit 0\nruntime: .*your own control group is bounded: it is /system\.slice/batch\.service/job, which is made and ended by batch\.service.*\nexit 125\n0::/system\.slice/batch\.service/job$`, `"of":"command"`}},
	{"temporary files on disk", `echo 'tmp = "disk"' >/etc/mayfly/policy.d/00-disk.toml; printf '[[rule]]\nimages = ["bb"]\nusers = ["mayfly-test"]\n' >>/etc/mayfly/policy.d/00-disk.toml
` + asUser + `"cd /; for i in 1 2; do runtime run --quiet --memory 30M bb -- sh -c 'head -c 100m /dev/zero >/tmp/full && echo full'; echo exit \$?; done"; rm /etc/mayfly/policy.d/00-disk.toml
` + asUser + `"cd /; runtime run --quiet --memory 30M bb -- sh -c 'head -c 100m /dev/zero >/tmp/full && echo full'; echo exit \$?"` + nothingLeft,
		[]string{`(?s)\Afull\nexit 0\nfull\nexit 0\n.*exit (137|1)\n.*0\n0\n0\n?$`}},
	{"bounds of root inside", asUser + `"cd /; runtime run --quiet --root --memory 30M --tasks 20 --stats - bb -- sh -c 'id -u; head -c 100m /dev/zero | tail -c 90m > /dev/null; echo hog \$?'"`,
		[]string{`(?m)^0$`, `(?m)^hog 137$`, `(?m)^runtime: out of memory: the kernel killed \d+ `}},
	{"scopes one after another", asUser + `"cd /; for i in 1 2 3 4 5; do runtime run --quiet --memory 30M bb -- true || exit; done; echo all"`, []string{`(?m)^all$`}},
	{"no user namespaces", `sysctl -qw user.max_user_namespaces=0; ` + asUser + `"cd /; runtime run --quiet --root bb -- true; echo exit \$?; runtime run --quiet bb -- true; echo exit \$?"; sysctl -qw user.max_user_namespaces=10000`,
		[]string{`(?m)^runtime: make a user namespace: .*user\.max_user_namespaces`, `(?m)^exit 125\nexit 0$`}},
	{"fork bomb", `uname -r; cd /; runtime run --quiet --tasks 30 --timeout 5s --kill-after 1s --stats - bb -- sh -c 'exec 2>/dev/null; bomb() { while :; do (bomb) & done; }; bomb'`,
		[]string{`\A5\.15|"tasksPeak":30,`}},
	{"processor", `cd /; runtime run --quiet --cpus 0.2 --stats - bb -- sh -c 'i=0; while [ $i -lt 15000 ]; do i=$((i+1)); done'`, []string{`"of":"container"`}},
	{"the policy's bounds", `printf '[[rule]]\nimages = ["bb"]\nusers = ["mayfly-test"]\nlimits = { memory = "30M", tasks = 20, cpu = 1.5, cpu-weight = 50 }\n' > /etc/mayfly/policy.d/10-bound.toml
` + asUser + `"cd /; runtime run --quiet --name bound --memory 1T --tasks 9999 --cpus 64 --cpu-weight 10000 bb -- sleep 600" &
await mayfly-test/bound
cd /sys/fs/cgroup/user.slice/user-*.slice/mayfly-*-bound.scope/container; echo $(cat memory.max pids.max cpu.max cpu.weight)
` + asUser + `"runtime kill --signal KILL bound"; wait; rm /etc/mayfly/policy.d/10-bound.toml`, []string{`31457280 20 150000 100000 50`}},
	{"gc timer", `systemctl is-active mayfly-gc.timer; systemctl start mayfly-gc.service && systemctl show -p Result mayfly-gc.service
systemctl cat mayfly-gc.service; runtime gc --install-timer && systemctl cat mayfly-gc.service; rm /etc/systemd/system/mayfly-gc.*; systemctl daemon-reload`,
		[]string{`(?m)^active$`, `Result=success`, `(?m)^# /(usr/)?lib/systemd/system/mayfly-gc.service`, `(?m)^# /etc/systemd/system/mayfly-gc.service`}},
	{"mount unit", `runtime store init --store /srv/images --size 300M; systemctl is-active srv-images.mount; systemctl is-enabled srv-images.mount; findmnt -no FSTYPE /srv/images
systemctl stop srv-images.mount; runtime store mount --store /srv/images; findmnt -no FSTYPE /srv/images; umount /srv/images; systemctl disable srv-images.mount; rm /srv/images.btrfs`,
		[]string{`(?m)^active\nenabled\nbtrfs\n`, `btrfs\n(.*\n)*btrfs`}},
	{"the journal", `cd /; ` + asUser + `"cd /; runtime run --quiet bb -- true; logger -t mayfly forged"
printf '[[rule]]\nimages = ["bb"]\ndeny = true\n' > /etc/mayfly/policy.d/10-deny.toml; ` + asUser + `"cd /; runtime run bb -- true"
sleep 1; runtime log --json | tail -n 3; rm /etc/mayfly/policy.d/10-deny.toml; journalctl -q -o cat -t mayfly | grep -c forged; runtime log | grep -c forged`,
		[]string{`"MAYFLY_EVENT":"start"`, `"MAYFLY_EVENT":"end"`, `"MAYFLY_DECISION":"allowed"`, `"MAYFLY_DECISION":"refused"`, `(?m)^1\n0\n?$`}},
	{"doctor", asUser + `"runtime doctor"`, []string{`(?m)^ok +control groups +bounds for .*memory`, `(?m)^ok +grant`}},
}
