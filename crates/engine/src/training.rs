//! What is trained of a network.

use std::fmt;
use std::sync::Arc;

use crate::NormStatistics;
use crate::store::Group;
use network::graph::Parameter;

/// The group of a parameter that is trained.
pub type GroupOf = dyn Fn(&Parameter) -> Option<Group> + Send + Sync;

/// The statistics of the batch norm of a module, by the module's path.
pub type StatisticsOf = dyn Fn(&str) -> NormStatistics + Send + Sync;

/// What is trained of a network, and how its batch norms behave.
#[derive(Clone)]
pub struct Training {
    /// The group of each parameter that is trained; none for what is frozen. Buffers are never trained.
    pub group: Arc<GroupOf>,
    /// Where each batch norm takes its statistics from.
    pub statistics: Arc<StatisticsOf>,
}

impl Training {
    /// Every parameter, in one group, with the statistics of the batch.
    pub fn all() -> Training {
        Training { group: Arc::new(|_| Some(0)), statistics: Arc::new(|_| NormStatistics::Batch) }
    }

    /// The same of those parameters only that are chosen.
    pub fn of(is_trained: impl Fn(&Parameter) -> bool + Send + Sync + 'static) -> Training {
        let group = move |parameter: &Parameter| is_trained(parameter).then_some(0);
        Training { group: Arc::new(group), ..Training::all() }
    }

    /// With other statistics of batch norms.
    #[must_use]
    pub fn with_statistics(
        self,
        statistics: impl Fn(&str) -> NormStatistics + Send + Sync + 'static,
    ) -> Training {
        Training { statistics: Arc::new(statistics), ..self }
    }
}

impl fmt::Debug for Training {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Training").finish_non_exhaustive()
    }
}
