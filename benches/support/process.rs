//! What the kernel says of a process: processor time and resident memory, from `/proc`.

use std::time::Duration;

use rustix::param::clock_ticks_per_second;

/// Processor time of a process since its start, user and kernel, in steps of 10 ms.
pub(crate) fn cpu(pid: u32) -> Duration {
    let [user, kernel] = cpu_parts(pid);
    user + kernel
}

/// The same, in user mode and in the kernel.
pub(crate) fn cpu_parts(pid: u32) -> [Duration; 2] {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    // Behind the name, which stands in parentheses and may contain spaces: state is field 3, utime 14, stime 15.
    let (_, fields) = stat.rsplit_once(')').expect("stat has a name");
    let mut ticks = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().unwrap_or(0));
    [(); 2]
        .map(|()| Duration::from_secs_f64(ticks.next().unwrap_or(0) as f64 / clock_ticks_per_second() as f64))
}

/// How often threads of a process have gone to sleep so far (voluntary context switches); those that have ended are
/// left out.
pub(crate) fn sleeps(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let of_one = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    let statuses =
        tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    statuses.filter_map(of_one).sum()
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("status has VmRSS");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("VmRSS is a number of kB")
}

/// Open descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").count()
}

/// Threads of a process.
pub(crate) fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives").count()
}

/// One line about the machine, for the head of a report.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model =
        info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "{} x {}, Linux {}, load {}",
        cores,
        model.unwrap_or("unknown processor"),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or("?")
    )
}
