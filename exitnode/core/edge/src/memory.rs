//! What this process has of memory: what is resident, or what the kernel charges its container with if that is more (it also
//! counts what waits in sockets). Linux only; elsewhere there is no reading. Called by the listener.

use std::fs;

/// cgroup v2, as a container sees it.
const CONTAINER_LIMIT: &str = "/sys/fs/cgroup/memory.max";
const CONTAINER_USE: &str = "/sys/fs/cgroup/memory.stat";
const PROCESS: &str = "/proc/self/status";

/// Bytes; `most` is the bound that they are compared with: if it is the container's, so is the reading.
pub(crate) fn used(most: u64) -> Option<u64> {
    let process = resident(&fs::read_to_string(PROCESS).ok()?)?;
    let limit = fs::read_to_string(CONTAINER_LIMIT).ok();
    let is_containers = limit.and_then(|text| text.trim().parse().ok()) == Some(most);
    let charged = is_containers.then(|| fs::read_to_string(CONTAINER_USE).ok().map(|text| charged(&text)));
    Some(process.max(charged.flatten().unwrap_or(0)))
}

/// `VmRSS` of /proc/self/status, in bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// What of a cgroup's memory the kernel cannot take back: not its page cache.
fn charged(stat: &str) -> u64 {
    let value = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        let counts = ["anon", "kernel", "sock", "shmem"].contains(&name);
        counts.then(|| value.parse::<u64>().ok())?
    };
    stat.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        assert_eq!(
            resident("Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t   1234 kB\nThreads:\t3\n"),
            Some(1234 << 10)
        );
        assert_eq!(resident("Name:\tx\n"), None);
        assert_eq!(
            charged("anon 100\nfile 5000\nkernel 20\nkernel_stack 7\nsock 3\nshmem 1\n"),
            124
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_some_memory() {
        assert!(used(0).unwrap() > 1 << 20);
    }
}
