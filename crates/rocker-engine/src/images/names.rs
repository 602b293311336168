//! `tag` and `untag`.

use rocker_types::ImageRef;

use crate::EngineError;
use crate::engine::Engine;
use crate::spare;

impl Engine {
    /// Gives an image one more name; one that meant another image means this one from then on.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`], and [`EngineError::NameWithDigest`] for a name that is a
    /// digest: that an image has by itself.
    pub fn tag(&mut self, query: &str, name: &ImageRef) -> Result<(), EngineError> {
        if name.digest().is_some() {
            return Err(EngineError::NameWithDigest(name.familiar()));
        }
        let row = self.image_row(query)?;
        let layout = self.layout.clone();
        let (live, durable) = self.databases()?;
        // `rmi` counts an image's names while it holds this
        let tx = live.begin()?;
        if durable.image(&row.id.to_string())?.is_none() {
            return Err(EngineError::NoSuchImage(query.to_owned()));
        }
        let mut changed = spare::holders(durable, std::iter::once(name))?;
        durable.tag(name, &row.id)?;
        changed.insert(row.id);
        for id in &changed {
            spare::keep_image(&layout, durable, id);
        }
        drop(tx);
        Ok(())
    }

    /// Takes names away from an image, all of them if none is given. The image stays.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`], and [`EngineError::NotItsName`] if one of the words is not
    /// a name of the image: then it keeps all.
    pub fn untag_image(&mut self, query: &str, words: &[String]) -> Result<(), EngineError> {
        let row = self.image_row(query)?;
        let meanings: Vec<_> = words.iter().map(|word| self.meanings(word)).collect();
        let layout = self.layout.clone();
        let (live, durable) = self.databases()?;
        let tx = live.begin()?;
        let now = durable
            .image(&row.id.to_string())?
            .ok_or_else(|| EngineError::NoSuchImage(query.to_owned()))?;
        let mut names = Vec::with_capacity(words.len());
        for (word, meanings) in words.iter().zip(meanings) {
            let its = meanings.into_iter().find(|name| now.tags.contains(name));
            names.push(its.ok_or_else(|| EngineError::NotItsName {
                name: word.chars().take(300).collect(),
                image: now.id.short().to_owned(),
            })?);
        }
        durable.remove_names(&now.id, (!names.is_empty()).then_some(&names))?;
        spare::keep_image(&layout, durable, &now.id);
        drop(tx);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, installation};

    #[test]
    fn an_image_loses_the_names_given_or_all_and_stays() {
        let (_dir, mut engine) = installation();
        let id = testing::image(&mut engine, "a:1");
        let name = |text: &str| text.parse::<ImageRef>().unwrap();
        for more in ["b:1", "c:1", "d:1"] {
            engine.tag("a:1", &name(more)).unwrap();
        }
        testing::image(&mut engine, "other:1");

        let words = |words: [&str; 2]| words.map(str::to_owned);
        let refused = engine.untag_image("a:1", &words(["b:1", "other:1"]));
        assert!(
            matches!(refused, Err(EngineError::NotItsName { .. })),
            "{refused:?}"
        );
        assert_eq!(engine.image_row("a:1").unwrap().tags.len(), 4);

        engine.untag_image("a:1", &words(["b:1", "c:1"])).unwrap();
        let left = engine.image_row("a:1").unwrap().tags;
        assert_eq!(left, [name("a:1"), name("d:1")]);

        engine.untag_image("a:1", &[]).unwrap();
        assert_eq!(engine.image_row(&id.to_string()).unwrap().tags, []);
        assert_eq!(engine.image_row("other:1").unwrap().tags.len(), 1);
    }

    #[test]
    fn a_name_moves_and_a_digest_is_no_name() {
        let (_dir, mut engine) = installation();
        let first = testing::image(&mut engine, "a:1");
        let second = testing::image(&mut engine, "b:1");

        engine.tag("b:1", &"a:1".parse().unwrap()).unwrap();
        assert_eq!(engine.image_row("a:1").unwrap().id, second);
        assert_eq!(engine.image_row(&first.to_string()).unwrap().tags, []);

        let digest: ImageRef = format!("a@{first}").parse().unwrap();
        let refused = engine.tag("b:1", &digest);
        assert!(
            matches!(refused, Err(EngineError::NameWithDigest(_))),
            "{refused:?}"
        );
    }
}
