//! Which statistics batch norms use.

/// Where batch norms take their statistics from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormStatistics {
    /// The running statistics: inference, and fine-tuning with frozen statistics.
    Running,
    /// The batch itself; running statistics that are trained move towards it.
    Batch,
}
