//! How an image came to be.

use rocker_types::HistoryEntry;

use super::find::config;
use crate::EngineError;
use crate::engine::Engine;

/// One step of an image's build, as `history` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildStep {
    /// What the builder wrote down; nothing for a layer that it said nothing about.
    pub entry: HistoryEntry,
    /// Bytes on disk of the layer that the step made; 0 if it made none.
    pub size_bytes: u64,
}

impl Engine {
    /// The steps of an image's build, the last one first.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`], [`EngineError::AmbiguousImage`], and what the database says.
    pub fn history(&mut self, query: &str) -> Result<Vec<BuildStep>, EngineError> {
        let row = self.image_row(query)?;
        let mut sizes = Vec::with_capacity(row.layers.len());
        for layer in &row.layers {
            let size = self.durable()?.layer(layer)?;
            sizes.push(size.map_or(0, |layer| layer.size_bytes));
        }
        Ok(steps(config(&row)?.history, sizes))
    }
}

/// Each step that is not empty made the next layer; layers that are left were made unsaid.
fn steps(history: Vec<HistoryEntry>, sizes: Vec<u64>) -> Vec<BuildStep> {
    let mut sizes = sizes.into_iter();
    let mut steps = Vec::new();
    for entry in history {
        let size_bytes = match entry.empty_layer {
            true => 0,
            false => sizes.next().unwrap_or(0),
        };
        steps.push(BuildStep { entry, size_bytes });
    }
    steps.extend(sizes.map(|size_bytes| BuildStep {
        size_bytes,
        ..BuildStep::default()
    }));
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_made_a_layer_get_its_size_and_layers_nobody_spoke_of_come_last() {
        let step = |text: &str, empty_layer| HistoryEntry {
            created_by: Some(text.to_owned()),
            empty_layer,
            ..HistoryEntry::default()
        };
        type Case<'a> = (Vec<HistoryEntry>, Vec<u64>, &'a [(&'a str, u64)]);
        let cases: [Case<'_>; 4] = [
            (vec![], vec![], &[]),
            (
                vec![step("ADD", false), step("ENV", true), step("RUN", false)],
                vec![7, 9],
                &[("RUN", 9), ("ENV", 0), ("ADD", 7)],
            ),
            (vec![step("ADD", false)], vec![7, 9], &[("", 9), ("ADD", 7)]),
            (
                vec![step("ADD", false), step("RUN", false)],
                vec![7],
                &[("RUN", 0), ("ADD", 7)],
            ),
        ];
        for (history, sizes, expected) in cases {
            let shown: Vec<_> = steps(history, sizes)
                .into_iter()
                .map(|step| (step.entry.created_by.unwrap_or_default(), step.size_bytes))
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(text, size)| ((*text).to_owned(), *size))
                .collect();
            assert_eq!(shown, expected);
        }
    }
}
