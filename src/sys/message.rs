//! Messages as the kernel takes and gives them: an 8-byte type, then the text.

/// Whether a queue call waits for space or for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    Forever,
}

/// Which message to receive; types are positive. See msgrcv(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageSelect {
    /// The oldest.
    Any,
    /// The oldest of this type.
    Exactly(i64),
    /// The oldest of the lowest type that is at most this one.
    UpTo(i64),
    /// The oldest of any other type.
    Except(i64),
}

/// Memory for one message, contiguous and 8-aligned as msgsnd and msgrcv want it.
pub(crate) struct MessageBuffer {
    /// The type, then the text.
    words: Vec<u64>,
    capacity: usize,
    len: usize,
}

impl MessageBuffer {
    /// Room for `capacity` bytes of text; the message in it is empty and of type 1.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut words = vec![0; 1 + capacity.div_ceil(8)];
        words[0] = 1;
        MessageBuffer { words, capacity, len: 0 }
    }

    pub(crate) fn type_(&self) -> i64 {
        self.words[0] as i64
    }

    /// Sets the type, which must be positive.
    pub(crate) fn set_type(&mut self, type_: i64) {
        assert!(type_ > 0, "a message type must be positive, got {type_}");
        self.words[0] = type_ as u64;
    }

    pub(crate) fn text(&self) -> &[u8] {
        let start = self.words[1..].as_ptr().cast();
        // SAFETY: `len` is at most `capacity`, which the initialised words after the first cover.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }

    /// The whole capacity, to be filled; then `set_len`.
    pub(crate) fn text_mut_full(&mut self) -> &mut [u8] {
        let start = self.words[1..].as_mut_ptr().cast();
        // SAFETY: the initialised words after the first cover `capacity` bytes.
        unsafe { std::slice::from_raw_parts_mut(start, self.capacity) }
    }

    /// Says how much of the text counts.
    pub(crate) fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity, "text of {len} bytes in a buffer of {}", self.capacity);
        self.len = len;
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Raises the capacity to at least `capacity`; the message stays.
    pub(crate) fn grow(&mut self, capacity: usize) {
        if capacity > self.capacity {
            self.words.resize(1 + capacity.div_ceil(8), 0);
            self.capacity = capacity;
        }
    }

    /// Where the type word stands; the text follows.
    #[cfg(not(loom))]
    pub(super) fn as_ptr(&self) -> *const u64 {
        self.words.as_ptr()
    }

    #[cfg(not(loom))]
    pub(super) fn as_mut_ptr(&mut self) -> *mut u64 {
        self.words.as_mut_ptr()
    }
}
