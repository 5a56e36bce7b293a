//! What the routes share besides the app's parts: live feeds, counters, limits of rate, estimates.

use crate::app::App;
use crate::estimates::History;
use crate::live::{Everything, Feeds};
use crate::metrics::Metrics;
use crate::queue::around::Surroundings;
use crate::queue::watch::Watching;
use crate::rates::Rates;

/// All of it. Cheap to make; nothing in it runs by itself.
#[derive(Default)]
pub(crate) struct Front {
    feeds: Feeds,
    everything: Everything,
    metrics: Metrics,
    rates: Rates,
    history: History,
    surroundings: Surroundings,
    watching: Watching,
}

impl App {
    pub(crate) fn feeds(&self) -> &Feeds {
        &self.front().feeds
    }

    pub(crate) fn everything(&self) -> &Everything {
        &self.front().everything
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.front().metrics
    }

    pub(crate) fn rates(&self) -> &Rates {
        &self.front().rates
    }

    pub(crate) fn history(&self) -> &History {
        &self.front().history
    }

    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.front().surroundings
    }

    pub(crate) fn watching(&self) -> &Watching {
        &self.front().watching
    }
}
