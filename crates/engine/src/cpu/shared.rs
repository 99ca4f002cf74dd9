//! A value that threads share, under `cfg(loom)` in a form whose orders loom explores.

/// A value that whoever has the right to may write.
#[derive(Debug)]
pub(super) struct Shared<T> {
    #[cfg(loom)]
    value: loom::cell::UnsafeCell<T>,
    #[cfg(not(loom))]
    value: std::cell::UnsafeCell<T>,
}

impl<T: Copy> Shared<T> {
    pub(super) fn new(value: T) -> Shared<T> {
        #[cfg(loom)]
        let value = loom::cell::UnsafeCell::new(value);
        #[cfg(not(loom))]
        let value = std::cell::UnsafeCell::new(value);
        Shared { value }
    }

    /// # Safety
    /// Nobody writes meanwhile.
    #[allow(unsafe_code)]
    pub(super) unsafe fn get(&self) -> T {
        #[cfg(loom)]
        // SAFETY: as the caller has made sure.
        return self.value.with(|value| unsafe { *value });
        #[cfg(not(loom))]
        // SAFETY: as the caller has made sure.
        return unsafe { *self.value.get() };
    }

    /// # Safety
    /// Nobody reads or writes meanwhile.
    #[allow(unsafe_code)]
    pub(super) unsafe fn set(&self, to: T) {
        #[cfg(loom)]
        // SAFETY: as the caller has made sure.
        self.value.with_mut(|value| unsafe { *value = to });
        #[cfg(not(loom))]
        // SAFETY: as the caller has made sure.
        unsafe {
            *self.value.get() = to;
        }
    }
}
