//! Layers that another pull is getting at this moment. Whoever gets no further loses them to us.

use std::collections::HashMap;
use std::time::Duration;

use rocker_types::{DiffId, Digest};
use tokio::time::Instant;

use super::LayerState;
use super::layer::{Missing, Site};
use super::pull::Pull;
use crate::store::{Claim, ExpectedLayer, StoreError, Trace, Wants};

/// How long a layer that another pull has finished may take to appear in the store. Longer means
/// that it waits for us, which can be where two images have layers in another order.
const STANDSTILL: Duration = Duration::from_secs(10);

/// The layers of one pull that nobody has given it yet.
pub(super) struct Waiting<'p, 's> {
    pull: &'p Pull<'p>,
    site: &'p Site<'s>,
    missing: Vec<Missing>,
    positions: Vec<usize>,
    /// Since when nothing but finished layers is waited for.
    still: Option<Instant>,
    /// How far those were who get a blob, and when that was first seen.
    traces: HashMap<Digest, (Trace, Instant)>,
    has_moved: bool,
}

impl<'p, 's> Waiting<'p, 's> {
    pub(super) fn new(pull: &'p Pull<'p>, site: &'p Site<'s>, missing: Vec<Missing>) -> Self {
        Self {
            pull,
            site,
            missing,
            positions: Vec::new(),
            still: None,
            traces: HashMap::new(),
            has_moved: true,
        }
    }

    /// Whether nothing is waited for any more.
    pub(super) fn is_over(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether something came since the last look.
    pub(super) fn has_moved(&self) -> bool {
        self.has_moved
    }

    /// Where the layers stand that are waited for.
    pub(super) fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// Looks at what others do; the layers that are for us to get. They are not waited for any
    /// more, nor are those that came.
    pub(super) fn claim(&mut self, chain: &[DiffId]) -> Result<Vec<Missing>, StoreError> {
        let layers: Vec<ExpectedLayer> = self
            .missing
            .iter()
            .map(|layer| layer.expected.clone())
            .collect();
        let pull = self.pull;
        let wants = Wants {
            chain,
            layers: &layers,
            limits: &pull.request.limits,
        };
        let claims = self.site.staging.borrow_mut().claim(pull.store, wants)?;
        let before = self.missing.len();
        let stands_still = self.stands_still(&claims);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (layer, claim) in std::mem::take(&mut self.missing).into_iter().zip(claims) {
            match claim {
                Claim::Ours => ours.push(layer),
                Claim::Here => pull.layer_state(&layer, LayerState::Done),
                Claim::Theirs { is_finished, trace } => {
                    let blob = &layer.expected.blob;
                    let is_stuck = !is_finished && self.is_stuck(blob, trace);
                    if stands_still || is_stuck {
                        self.site.staging.borrow().take(&layer.expected)?;
                        ours.push(layer);
                        continue;
                    }
                    if !self.positions.contains(&layer.position) {
                        pull.layer_state(&layer, LayerState::Elsewhere);
                    }
                    theirs.push(layer);
                }
            }
        }
        self.missing = theirs;
        self.positions = self.missing.iter().map(|layer| layer.position).collect();
        self.has_moved = self.missing.len() < before;
        Ok(ours)
    }

    /// Whether we and those whom we wait for have been waiting for each other for too long.
    fn stands_still(&mut self, claims: &[Claim]) -> bool {
        let is_finished =
            |claim: &Claim| matches!(claim, Claim::Theirs { is_finished, .. } if *is_finished);
        let still = !claims.is_empty() && claims.iter().all(is_finished);
        if !still {
            self.still = None;
            return false;
        }
        let since = *self.still.get_or_insert_with(Instant::now);
        since.elapsed() >= STANDSTILL
    }

    /// Whether those who get a blob have come no further for as long as a registry may be silent:
    /// they may be stopped, or hang.
    fn is_stuck(&mut self, blob: &Digest, trace: Trace) -> bool {
        let now = Instant::now();
        let (last, since) = self.traces.entry(blob.clone()).or_insert((trace, now));
        if *last != trace {
            (*last, *since) = (trace, now);
        }
        let timeouts = self.site.repository.options().timeouts;
        now.duration_since(*since) >= timeouts.no_progress
    }
}
