//! stub
pub(crate) fn recognises(_: &[u8]) -> bool {
    false
}
pub(crate) fn read(_: &crate::open::Source) -> crate::Result<crate::Checkpoint> {
    unreachable!()
}
