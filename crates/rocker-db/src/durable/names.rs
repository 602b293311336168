//! Names of images, and what goes with them.

use rocker_types::{DiffId, Digest, ImageRef};
use rusqlite::{Connection, OptionalExtension, params};

use super::images::image;
use super::{DurableDb, ImageRow, count_change, note_image};
use crate::DbError;
use crate::live::{parse, strings};

/// What deleting a name or an image left to do and to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Untagged {
    /// Names that are gone.
    pub untagged: Vec<String>,
    /// The image, if it is gone too.
    pub deleted: Option<Digest>,
    /// Layers that nothing refers to any more: their directories may be removed.
    pub orphaned_layers: Vec<DiffId>,
    /// Bytes of those layers on disk.
    pub freed_bytes: u64,
}

/// Who chose what a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// Whoever uses rocker: by a pull, a tag, a commit or an import.
    User,
    /// An archive that was loaded.
    Archive,
}

impl ImageRow {
    /// The names for which the image stays when `gone` goes: tags, and digests that somebody asked
    /// for. As in docker, digests go with the last tag of their repository.
    #[must_use]
    pub fn names_without(&self, gone: &ImageRef) -> Vec<ImageRef> {
        let mut names = self.tags.clone();
        names.retain(|tag| tag != gone);
        let is_last =
            gone.digest().is_none() && !names.iter().any(|tag| tag.is_same_repository(gone));
        let goes = |digest: &ImageRef| {
            let is_gone = digest.digest() == gone.digest() || is_last;
            is_gone && digest.is_same_repository(gone)
        };
        let digests = self.asked_digests.iter();
        names.extend(digests.filter(|digest| !goes(digest)).cloned());
        names
    }

    /// What somebody calls the image: its tags, and the digests that somebody asked for in
    /// repositories of which it has no tag.
    #[must_use]
    pub fn names(&self) -> Vec<ImageRef> {
        let has_tag =
            |digest: &ImageRef| self.tags.iter().any(|tag| tag.is_same_repository(digest));
        let digests = self.asked_digests.iter();
        let digests = digests.filter(|digest| !has_tag(digest));
        self.tags.iter().chain(digests).cloned().collect()
    }
}

impl DurableDb {
    /// Which image has a name, and who gave it.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn holder(&self, reference: &ImageRef) -> Result<Option<(Digest, NamedBy)>, DbError> {
        let found = self
            .db
            .query_row(
                "SELECT image_id, archived FROM tags WHERE reference = ?1",
                [reference.canonical()],
                |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)),
            )
            .optional()
            .map_err(DbError::query("read a tag"))?;
        let Some((id, archived)) = found else {
            return Ok(None);
        };
        let by = match archived {
            true => NamedBy::Archive,
            false => NamedBy::User,
        };
        Ok(Some((parse("an image id", id)?, by)))
    }

    /// Gives an image one more name.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn tag(&mut self, reference: &ImageRef, id: &Digest) -> Result<(), DbError> {
        let tx = self.begin()?;
        count_change(&tx)?;
        set_tag(&tx, reference, id, NamedBy::User)?;
        tx.commit().map_err(DbError::query("record a tag"))
    }

    /// Takes one name away, and the image with it when that was its last: see
    /// [`ImageRow::names_without`].
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn untag(&mut self, reference: &ImageRef) -> Result<Untagged, DbError> {
        let failed = DbError::query("delete a tag");
        let tx = self.begin()?;
        let (table, name, shown) = match reference.digest() {
            Some(digest) => {
                let name = reference.familiar_with_digest(digest);
                ("repo_digests", name.clone(), name)
            }
            None => ("tags", reference.canonical(), reference.familiar()),
        };
        let ids = strings(
            &tx,
            &format!("SELECT image_id FROM {table} WHERE reference = ?1"),
            &[&name],
        )?;
        let Some(id) = ids.into_iter().next() else {
            return Ok(Untagged::default());
        };
        let image = image(&tx, &id)?;
        let left = image.map_or_else(Vec::new, |image| image.names_without(reference));
        count_change(&tx)?;
        note_image(&tx, &id)?;
        tx.execute(
            &format!("DELETE FROM {table} WHERE reference = ?1"),
            [&name],
        )
        .map_err(&failed)?;
        keep_asked(&tx, &id, &left)?;
        let mut gone = Untagged {
            untagged: vec![shown],
            ..Untagged::default()
        };
        if left.is_empty() {
            delete(&tx, &id, &mut gone)?;
        }
        tx.commit().map_err(failed)?;
        Ok(gone)
    }

    /// Takes names away from an image, which stays even without any: those in `names`, or all.
    /// Returns the names that are gone, as docker prints them.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn remove_names(
        &mut self,
        id: &Digest,
        names: Option<&[ImageRef]>,
    ) -> Result<Vec<String>, DbError> {
        let failed = DbError::query("delete a tag");
        let tx = self.begin()?;
        let id = id.to_string();
        count_change(&tx)?;
        note_image(&tx, &id)?;
        let mut gone = Vec::new();
        for tag in names_of(&tx, &id)? {
            if names.is_none_or(|names| names.contains(&tag)) {
                tx.execute("DELETE FROM tags WHERE reference = ?1", [tag.canonical()])
                    .map_err(&failed)?;
                gone.push(tag.familiar());
            }
        }
        tx.commit().map_err(failed)?;
        Ok(gone)
    }

    /// Takes an image away with all its names.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn delete_image(&mut self, id: &Digest) -> Result<Untagged, DbError> {
        let tx = self.begin()?;
        let id = id.to_string();
        let mut gone = Untagged::default();
        let names = names_of(&tx, &id)?;
        gone.untagged.extend(names.iter().map(ImageRef::familiar));
        tx.execute("DELETE FROM tags WHERE image_id = ?1", [&id])
            .map_err(DbError::query("delete an image"))?;
        delete(&tx, &id, &mut gone)?;
        count_change(&tx)?;
        tx.commit().map_err(DbError::query("delete an image"))?;
        Ok(gone)
    }
}

/// Of the digests of an image those alone count as names by now that are among `names`.
fn keep_asked(db: &Connection, id: &str, names: &[ImageRef]) -> Result<(), DbError> {
    let sql = "SELECT reference FROM repo_digests WHERE image_id = ?1 AND asked = 1";
    for asked in strings(db, sql, &[&id])? {
        let stays = |name: &ImageRef| {
            let digest = name.digest();
            digest.is_some_and(|digest| name.familiar_with_digest(digest) == asked)
        };
        if !names.iter().any(stays) {
            let sql = "UPDATE repo_digests SET asked = 0 WHERE reference = ?1";
            db.execute(sql, [&asked])
                .map_err(DbError::query("delete a tag"))?;
        }
    }
    Ok(())
}

/// An image's names, sorted by their canonical spelling.
fn names_of(db: &Connection, id: &str) -> Result<Vec<ImageRef>, DbError> {
    let sql = "SELECT reference FROM tags WHERE image_id = ?1 ORDER BY reference";
    let names = strings(db, sql, &[&id])?;
    let parsed = names.into_iter().map(|name| parse("a reference", name));
    parsed.collect()
}

/// An archive that says once more what is known does not make the name its own. The image, and the
/// one that had the name, are changed.
pub(super) fn set_tag(
    db: &Connection,
    reference: &ImageRef,
    id: &Digest,
    by: NamedBy,
) -> Result<(), DbError> {
    let name = reference.canonical();
    note_holder(db, "tags", &name)?;
    db.execute(
        "INSERT INTO tags(reference, image_id, archived) VALUES(?1, ?2, ?3)
         ON CONFLICT(reference) DO UPDATE SET image_id = excluded.image_id,
         archived = iif(image_id = excluded.image_id, min(archived, excluded.archived), excluded.archived)",
        params![name, id.to_string(), by == NamedBy::Archive],
    )
    .map_err(DbError::query("record a tag"))?;
    note_image(db, &id.to_string())
}

/// The same for the name of an image at a registry; `true` where somebody asked for it by that.
pub(super) fn set_repo_digest(
    db: &Connection,
    (name, is_asked): (&str, bool),
    id: &str,
) -> Result<(), DbError> {
    note_holder(db, "repo_digests", name)?;
    db.execute(
        "INSERT INTO repo_digests(reference, image_id, asked) VALUES(?1, ?2, ?3)
         ON CONFLICT(reference) DO UPDATE SET image_id = excluded.image_id,
         asked = iif(image_id = excluded.image_id, max(asked, excluded.asked), excluded.asked)",
        params![name, id, is_asked],
    )
    .map_err(DbError::query("record a repository digest"))?;
    note_image(db, id)
}

/// Notes that the image which has this name is changed.
fn note_holder(db: &Connection, table: &str, name: &str) -> Result<(), DbError> {
    let sql = format!("SELECT image_id FROM {table} WHERE reference = ?1");
    let holders = strings(db, &sql, &[&name])?;
    holders.iter().try_for_each(|holder| note_image(db, holder))
}

/// Deletes the image's row and every layer that only it used.
fn delete(db: &Connection, id: &str, gone: &mut Untagged) -> Result<(), DbError> {
    let failed = DbError::query("delete an image");
    let digests = strings(
        db,
        "SELECT reference FROM repo_digests WHERE image_id = ?1 ORDER BY reference",
        &[&id],
    )?;
    gone.untagged.extend(digests);
    if db
        .execute("DELETE FROM images WHERE id = ?1", [id])
        .map_err(&failed)?
        == 0
    {
        return Ok(());
    }
    db.execute("DELETE FROM meta WHERE key = 'image:' || ?1", [id])
        .map_err(&failed)?;
    gone.deleted = Some(parse("an image id", id.to_owned())?);
    let sql = "SELECT diff_id, size_bytes FROM layers l WHERE NOT EXISTS (SELECT 1 FROM image_layers i WHERE i.diff_id = l.diff_id) ORDER BY diff_id";
    let mut statement = db.prepare(sql).map_err(&failed)?;
    let orphans = statement
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(&failed)?;
    for (orphan, size) in orphans {
        db.execute("DELETE FROM layers WHERE diff_id = ?1", [&orphan])
            .map_err(&failed)?;
        gone.orphaned_layers.push(parse("a diff id", orphan)?);
        gone.freed_bytes += u64::try_from(size).unwrap_or(0);
    }
    Ok(())
}
