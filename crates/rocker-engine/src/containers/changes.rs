//! `export` and `diff`: what a container's file system is, and what it has become.

use std::io::Write;

use rocker_image::store::{Change, ContainerView};
use rocker_types::ContainerQuery;

use crate::EngineError;
use crate::engine::Engine;

impl Engine {
    /// Writes a container's file system to `output` as a tar: what the container sees, but for
    /// what is mounted in it. It may run meanwhile.
    ///
    /// # Errors
    ///
    /// [`EngineError::Export`], [`EngineError::Db`] when there is no such container.
    pub fn export(
        &mut self,
        query: &ContainerQuery,
        output: &mut dyn Write,
    ) -> Result<(), EngineError> {
        let exported = self.view(query)?.export(output);
        exported.map_err(|error| EngineError::Export(Box::new(error)))
    }

    /// What in a container's file system is not as in its image; what is mounted in the
    /// container does not count.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`], [`EngineError::Db`] when there is no such container.
    pub fn changes(&mut self, query: &ContainerQuery) -> Result<Vec<Change>, EngineError> {
        Ok(self.view(query)?.diff()?)
    }

    /// The layers stay as long as the container is there, and open directories even longer.
    fn view(&mut self, query: &ContainerQuery) -> Result<ContainerView, EngineError> {
        let row = self.live.find(query)?;
        let definition = self.definition(&row)?;
        self.confirm_layers(&definition.layers)?;
        let upper = self.layout.container(&row.id).join("upper");
        Ok(ContainerView::open(
            self.store()?,
            &definition.layers,
            &upper,
        )?)
    }
}
