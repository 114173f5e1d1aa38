//! Memory at whose end the kernel stops.
//!
//! Some calls take an array without its length: `semctl` with GETALL fills as many numbers as the set has
//! semaphores, and SETALL reads as many. The set may be removed meanwhile, and its id be another's, which has more.

use std::ptr::{NonNull, null_mut};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_void};

/// Zero bytes in front of a page that nobody can use: a call that goes further fails with EFAULT.
pub(super) struct Guarded {
    /// What is mapped: the bytes at the end of its first part, then the page.
    mapping: NonNull<c_void>,
    mapped: usize,
    /// How many bytes can be used, and how many of them are in front of those that were asked for.
    usable: usize,
    before: usize,
}

impl Guarded {
    /// Memory for so many numbers; an error is an errno.
    pub(super) fn new(numbers: usize) -> Result<Self, c_int> {
        // SAFETY: sysconf takes and returns numbers.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(|_| Errno::last_raw())?;
        let len = numbers.checked_mul(size_of::<u16>()).ok_or(libc::ENOMEM)?;
        let usable = len.checked_next_multiple_of(page).ok_or(libc::ENOMEM)?;
        let mapped = usable.checked_add(page).ok_or(libc::ENOMEM)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing else.
        let start = unsafe { libc::mmap(null_mut(), mapped, libc::PROT_NONE, flags, -1, 0) };
        let errno = Errno::last_raw();
        let mapping = NonNull::new(start).filter(|start| start.as_ptr() != libc::MAP_FAILED);
        let mapping = mapping.ok_or(errno)?;
        let guarded = Guarded { mapping, mapped, usable, before: usable - len };
        if usable > 0 {
            // SAFETY: the pages are of the mapping that was just made.
            let made = unsafe { libc::mprotect(start, usable, libc::PROT_READ | libc::PROT_WRITE) };
            if made != 0 {
                return Err(Errno::last_raw());
            }
        }
        Ok(guarded)
    }

    /// Where the numbers start, for the kernel.
    pub(super) fn start(&mut self) -> *mut c_void {
        self.mapping.as_ptr().wrapping_byte_add(self.before)
    }

    pub(super) fn numbers(&mut self) -> &mut [u16] {
        let (start, len) = (self.start().cast(), (self.usable - self.before) / size_of::<u16>());
        // SAFETY: so many bytes of the mapping can be used from there on, a multiple of two from a page's end,
        // and nobody else knows of them.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and every borrow of it has ended.
        unsafe { libc::munmap(self.mapping.as_ptr(), self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_end_where_the_kernel_stops() {
        for count in [0, 1, 2, 79, 2048, 2049, 40_000] {
            let mut guarded = Guarded::new(count).unwrap();
            assert!(guarded.numbers().iter().all(|number| *number == 0));
            assert_eq!(guarded.numbers().len(), count);
            guarded.numbers().fill(7);
            let end = guarded.start().wrapping_byte_add(2 * count);
            // SAFETY: the kernel writes to memory of this process, or refuses to.
            let read = unsafe { libc::getrandom(end, 1, 0) };
            assert_eq!((read, Errno::last_raw()), (-1, libc::EFAULT));
        }
        assert_eq!(Guarded::new(usize::MAX).err(), Some(libc::ENOMEM));
    }
}
