//! Descriptors that this program was started with do not reach those that it
//! starts.

use std::os::fd::AsRawFd as _;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use ukexec_kexec::close_on_exec;

#[test]
fn children_get_no_descriptor_behind_the_standard_ones() {
    let file = tempfile::tempfile().unwrap();
    fcntl_setfd(&file, FdFlags::empty()).unwrap();
    let child_has_it = || {
        Command::new("test")
            .arg("-e")
            .arg(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .status()
            .unwrap()
            .success()
    };
    assert!(child_has_it());
    close_on_exec().unwrap();
    assert!(fcntl_getfd(&file).unwrap().contains(FdFlags::CLOEXEC));
    assert!(!child_has_it());
}
