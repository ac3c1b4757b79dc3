//! How much memory a step takes at most.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Runs `work`; panics if the heap grew by more than `bytes_max` at any moment of it.
///
/// The count is of the whole process: whoever asks runs one target at a time.
pub fn bounded<T>(what: &str, bytes_max: usize, work: impl FnOnce() -> T) -> T {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let result = work();
    let grown = MEMORY.peak_usage().saturating_sub(before);
    assert!(grown <= bytes_max, "{what}: the heap grew by {grown} bytes, allowed are {bytes_max}");
    result
}

/// Bytes on the heap now.
pub fn in_use() -> usize {
    MEMORY.current_usage()
}
