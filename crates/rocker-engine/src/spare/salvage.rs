//! From the rows of a damaged database to those of a new one.

use std::collections::BTreeMap;

use rocker_db::{ContainerRow, ContainerState, DurableContainer, LayerRow, Salvage};
use rocker_types::DiffId;

use super::{Adopted, SpareImage, SpareLayer};
use crate::EngineError;
use crate::engine::Engine;

impl Engine {
    /// Records what could be read of a damaged database. An image counts only with its config,
    /// which its id tells from any other text.
    pub(super) fn adopt_rows(&mut self, salvage: Salvage) -> Result<Adopted, EngineError> {
        let mut adopted = Adopted::default();
        let rows = salvage.layers.into_iter();
        let rows: BTreeMap<DiffId, LayerRow> = rows.map(|row| (row.diff_id.clone(), row)).collect();
        for image in salvage.images {
            let layers = image.layers.iter().filter_map(|layer| rows.get(layer));
            let layers = layers.map(SpareLayer::of).collect();
            if self.adopt_image(&SpareImage::of(image, layers))? {
                adopted.images += 1;
            }
        }
        for container in salvage.containers {
            let volumes = container.volumes.clone();
            let row = row_of(container);
            adopted.containers += usize::from(self.durable()?.ensure_container(&row, &volumes)?);
        }
        for volume in salvage.volumes {
            adopted.volumes += usize::from(self.durable()?.ensure_volume(&volume)?);
        }
        Ok(adopted)
    }
}

/// A container as a damaged database had it.
fn row_of(container: DurableContainer) -> ContainerRow {
    let exit = container.exit;
    ContainerRow {
        id: container.id,
        name: container.name,
        kept: true,
        image_id: container.image_id,
        definition: container.definition,
        created_ns: container.created_ns,
        state: ContainerState {
            status: exit.status,
            init: None,
            monitor: None,
            started_ns: container.started_ns,
            finished_ns: exit.finished_ns,
            exit_code: exit.exit_code,
            oom_killed: exit.oom_killed,
            error: exit.error,
            restarts: 0,
            stop_requested: false,
        },
        durable: true,
    }
}
