//! What the heap holds free, given back to the system: the one thing that takes a function of the C library.

/// Gives back every page of the heap in which nothing is in use (upstream: `malloc_trim(3)`), where the C library has
/// such a function. By itself it gives back only what is free at the end of the heap, and something is always in use
/// there.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            // It may be called at any time, by any thread, with any number.
            safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        malloc_trim(0);
    }
}
