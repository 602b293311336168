//! Reading the legacy iptables filter table: two socket options that no crate offers.
//!
//! Raw bytes only; what they mean is read by `rocker-net`.
#![expect(
    unsafe_code,
    reason = "getsockopt(2) with these options has no safe wrapper"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// Bytes of `struct ipt_getinfo`.
const INFO_LEN: usize = 84;
/// Bytes of `struct ipt_get_entries` before the entries, with its padding.
const ENTRIES_HEADER_LEN: usize = 40;
/// Where the size of all entries is in `struct ipt_getinfo`.
const SIZE_OFFSET: usize = 80;
/// More than any ruleset that loads in reasonable time.
const MAX_TABLE_BYTES: u32 = 64 * 1024 * 1024;

/// The filter table as the kernel hands it out.
#[derive(Debug)]
pub struct FilterTable {
    /// `struct ipt_getinfo`.
    pub info: [u8; INFO_LEN],
    /// The `struct ipt_entry`s, end to end.
    pub entries: Vec<u8>,
}

/// Reads the filter table of the calling thread's network namespace.
///
/// Asking for it makes it, if the kernel knows legacy iptables: look into
/// `/proc/net/ip_tables_names` first.
///
/// # Errors
///
/// `ENOPROTOOPT` if the kernel has no legacy iptables, `EPERM` without `CAP_NET_ADMIN`,
/// `EAGAIN` if the table was replaced between the two questions. Source: Linux
/// `net/ipv4/netfilter/ip_tables.c`, `do_ipt_get_ctl`.
pub fn filter_table() -> io::Result<FilterTable> {
    let socket = raw_socket()?;
    let borrowed = std::os::fd::AsFd::as_fd(&socket);
    let mut info = [0; INFO_LEN];
    info[..6].copy_from_slice(b"filter");
    get(borrowed, GET_INFO, &mut info)?;

    let mut size = [0; 4];
    size.copy_from_slice(&info[SIZE_OFFSET..]);
    let count = u32::from_ne_bytes(size);
    if count > MAX_TABLE_BYTES {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    let length = usize::try_from(count).map_err(io::Error::other)?;
    let mut entries = vec![0; ENTRIES_HEADER_LEN + length];
    entries[..6].copy_from_slice(b"filter");
    entries[32..36].copy_from_slice(&size);
    get(borrowed, GET_ENTRIES, &mut entries)?;
    entries.drain(..ENTRIES_HEADER_LEN);
    Ok(FilterTable { info, entries })
}

fn raw_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) takes numbers only.
    let fd = unsafe { libc::socket(libc::AF_INET, kind, libc::IPPROTO_RAW) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn get(socket: BorrowedFd<'_>, option: libc::c_int, buffer: &mut [u8]) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(buffer.len()).map_err(io::Error::other)?;
    // SAFETY: `buffer` is exclusively ours for the call and `length` is its length, which is
    // how much the kernel reads (the request) and at most writes (the answer); `length` lives
    // on this stack frame. The kernel keeps neither pointer.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
