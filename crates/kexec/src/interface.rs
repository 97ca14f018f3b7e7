//! Network interfaces, which are taken down before a boot at once.

use std::ffi::OsStr;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::{KexecError, failed, shown_path};
use crate::syscall::{Call, syscall};

/// Takes each interface below `root` down but the loopback. `stays_up` gets the failures.
pub(crate) fn take_down(root: &Path, stays_up: &mut dyn FnMut(KexecError)) {
    // Without /sys there is nothing to go by; nor are there devices without a network.
    let Ok(folder) = root.join("sys/class/net").read_dir() else {
        return;
    };
    for interface in folder.flatten() {
        // Files of drivers lie beside the folders of interfaces.
        let name = interface.file_name();
        if name != "lo" && interface.path().join("flags").exists() {
            take_one_down(&name).unwrap_or_else(&mut *stays_up);
        }
    }
}

fn take_one_down(interface: &OsStr) -> Result<(), KexecError> {
    let shown = || shown_path(Path::new(interface));
    let mut name = [0; libc::IFNAMSIZ];
    let places = name.iter_mut().zip(interface.as_bytes());
    places.for_each(|(place, byte)| *place = libc::c_char::from_ne_bytes([*byte]));
    if interface.len() >= name.len() {
        let text = format!("interface {}: the name is too long", shown());
        return Err(KexecError::new(text));
    }
    let (family, flags) = (AddressFamily::INET, SocketFlags::CLOEXEC);
    let socket = socket_with(family, SocketType::DGRAM, flags, None);
    let socket = socket.map_err(failed("opening a socket"))?;
    let socket = socket.as_fd();
    syscall(&Call::InterfaceDown { socket, name })
        .map_err(|answer| KexecError::caused(format!("interface {} stays up", shown()), answer))
}
