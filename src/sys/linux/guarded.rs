//! Memory at whose end the kernel stops.
//!
//! Some calls take an array without its length: `semctl` with GETALL fills as many numbers as the set has
//! semaphores, and SETALL reads as many. The set may be removed meanwhile, and its id be another's, which has more.

use std::cell::Cell;
use std::ptr::{NonNull, null_mut};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_void};

/// Zero bytes in front of a page without access: a call that goes further fails with EFAULT.
pub(super) struct Guarded {
    /// What is mapped: the bytes at the end of its first part, then the page.
    mapping: NonNull<c_void>,
    mapped: usize,
    /// How many bytes can be used, and how many of them are in front of those that were asked for.
    usable: usize,
    before: usize,
}

std::thread_local! {
    /// What the thread used last.
    // NB: measured with senders that attach and go: 3.0 us each, 11.5 with memory that is mapped for each.
    static SPARE: Cell<Option<Guarded>> = const { Cell::new(None) };
}

impl Guarded {
    /// Lends memory for so many numbers; an error is an errno.
    pub(super) fn lend<R>(
        numbers: usize,
        use_it: impl FnOnce(&mut Guarded) -> R,
    ) -> Result<R, c_int> {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        let mut guarded = match spare.and_then(|spare| spare.fitted(numbers)) {
            Some(spare) => spare,
            None => Guarded::new(numbers)?,
        };
        let used = use_it(&mut guarded);
        // A thread that ends keeps nothing.
        let _ = SPARE.try_with(|spare| spare.set(Some(guarded)));
        Ok(used)
    }

    /// The same memory for so many numbers, all zero, if it has room for them.
    fn fitted(mut self, numbers: usize) -> Option<Self> {
        self.before = self.usable.checked_sub(numbers.checked_mul(size_of::<u16>())?)?;
        self.numbers().fill(0);
        Some(self)
    }

    /// Memory for so many numbers; an error is an errno.
    fn new(numbers: usize) -> Result<Self, c_int> {
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
        // and no other code knows of them.
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
        for count in [5, 3, 3000, 0, 4000] {
            let lent = |guarded: &mut Guarded| {
                let zero = guarded.numbers().iter().all(|number| *number == 0);
                guarded.numbers().fill(9);
                (guarded.numbers().len(), zero)
            };
            assert_eq!(Guarded::lend(count, lent), Ok((count, true)));
        }
    }
}
