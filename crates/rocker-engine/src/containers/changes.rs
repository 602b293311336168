//! `export` and `diff`: what a container's file system is, and what it has become.

use std::io::Write;

use rocker_db::{ContainerRow, DbError};
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
    /// [`EngineError::Export`], [`EngineError::Db`] when there is no such container, also if it went
    /// meanwhile.
    pub fn export(
        &mut self,
        query: &ContainerQuery,
        output: &mut dyn Write,
    ) -> Result<(), EngineError> {
        let (row, view) = self.view(query)?;
        let exported = view.export(output);
        exported.map_err(|error| EngineError::Export(Box::new(error)))?;
        self.check_was_there(&row)
    }

    /// What in a container's file system is not as in its image; what is mounted in the
    /// container does not count.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`], [`EngineError::Db`] when there is no such container, also if it went
    /// meanwhile.
    pub fn changes(&mut self, query: &ContainerQuery) -> Result<Vec<Change>, EngineError> {
        let (row, view) = self.view(query)?;
        let changes = view.diff()?;
        self.check_was_there(&row)?;
        Ok(changes)
    }

    /// Asked after a container's files were read: files that its removal took away meanwhile look
    /// like files that its program has deleted. A removal is recorded before the first file goes.
    ///
    /// # Errors
    ///
    /// [`EngineError::Db`] when there is no such container any more.
    pub(crate) fn check_was_there(&self, row: &ContainerRow) -> Result<(), EngineError> {
        match self.live.container(&row.id) {
            Ok(now) if !now.is_on_its_way_out() => Ok(()),
            Ok(_) | Err(DbError::NoSuchContainer(_)) => {
                Err(DbError::NoSuchContainer(row.name.to_string()).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The layers stay as long as the container is there, and open directories even longer.
    fn view(
        &mut self,
        query: &ContainerQuery,
    ) -> Result<(ContainerRow, ContainerView), EngineError> {
        let row = self.live.find(query)?;
        let definition = self.definition(&row)?;
        self.confirm_layers(&definition.layers)?;
        let upper = self.layout.container(&row.id).join("upper");
        let view = ContainerView::open(self.store()?, &definition.layers, &upper)?;
        Ok((row, view))
    }
}
