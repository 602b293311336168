//! JSON without the freedoms that let two readers see two documents.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::limits::exceeded;
use super::words::shorten;
use super::{DocumentError, DocumentLimits};

/// Reads a document whose keys are known to be unique.
///
/// # Errors
///
/// [`DocumentError::Syntax`] with the name of the field that is wrong.
pub(super) fn read<'de, T: Deserialize<'de>>(
    what: &'static str,
    raw: &'de [u8],
) -> Result<T, DocumentError> {
    let mut json = serde_json::Deserializer::from_slice(raw);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path();
        let place = path.iter().next().map(|_| shorten(&path.to_string()));
        DocumentError::Syntax {
            what,
            place: place.unwrap_or_default(),
            source: error.into_inner(),
        }
    })
}

/// The keys of a document's outermost object, after the whole document was walked once:
/// it is one object, no object in it has a key twice, and it is nested no deeper than
/// [`DocumentLimits::json_depth`].
#[derive(Debug)]
pub(super) struct TopLevelKeys(HashSet<String>);

impl TopLevelKeys {
    /// Walks `raw` in constant memory per level; builds no tree.
    ///
    /// # Errors
    ///
    /// [`DocumentError::Syntax`] and [`DocumentError::Limit`].
    pub(super) fn of(
        what: &'static str,
        raw: &[u8],
        limits: &DocumentLimits,
    ) -> Result<Self, DocumentError> {
        let too_deep = Cell::new(false);
        let walk = Walk {
            levels: limits.json_depth,
            too_deep: &too_deep,
        };
        let mut json = serde_json::Deserializer::from_slice(raw);
        let keys = json
            .deserialize_map(UniqueKeys(walk))
            .and_then(|keys| json.end().map(|()| keys));
        if too_deep.get() {
            let object = format!("the {what}, in which JSON is nested,");
            return Err(exceeded("json_depth", limits.json_depth as u64, object));
        }
        keys.map(Self).map_err(|source| DocumentError::Syntax {
            what,
            place: String::new(),
            source,
        })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains(key)
    }

    /// A key that equals one of `known` but for case. Go reads such a key as the known
    /// one, so two tools would read two images.
    pub(super) fn case_variant_of(&self, known: &[&str]) -> Option<&str> {
        let varies = |key: &str| {
            known
                .iter()
                .any(|k| *k != key && k.eq_ignore_ascii_case(key))
        };
        self.0.iter().map(String::as_str).find(|key| varies(key))
    }
}

/// How a document is walked.
#[derive(Clone, Copy)]
struct Walk<'a> {
    /// How many levels may follow.
    levels: usize,
    /// Set when there are more.
    too_deep: &'a Cell<bool>,
}

impl Walk<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let Some(levels) = self.levels.checked_sub(1) else {
            self.too_deep.set(true);
            return Err(E::custom("nested too deeply"));
        };
        Ok(Self { levels, ..self })
    }
}

/// Visits an object and gives back its keys; each value below is visited as [`Checked`].
struct UniqueKeys<'a>(Walk<'a>);

impl<'de> Visitor<'de> for UniqueKeys<'_> {
    type Value = HashSet<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let below = self.0.deeper()?;
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if keys.contains(&key) {
                let shown: String = key.chars().take(64).collect();
                return Err(A::Error::custom(format_args!("duplicate key {shown:?}")));
            }
            map.next_value_seed(Checked(below))?;
            keys.insert(key);
        }
        Ok(keys)
    }
}

/// Any JSON value whose objects have no key twice.
#[derive(Clone, Copy)]
struct Checked<'a>(Walk<'a>);

impl<'de> DeserializeSeed<'de> for Checked<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        UniqueKeys(self.0).visit_map(map).map(drop)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let below = Checked(self.0.deeper()?);
        while seq.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// A `T` that was written as an object. serde's derived structs take an array as well, by
/// position of the fields, which no other reader of these documents does.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_map(ObjectVisitor(PhantomData))
            .map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// A field's value as far as descriptors need it. Arrays and objects in its place are
/// walked over, not kept, so a hostile document costs no memory here.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Scalar {
    #[default]
    Missing,
    Unsigned(u64),
    Text(String),
    /// What was found instead, in words.
    Other(&'static str),
}

impl Scalar {
    /// What the value is, for "… is a string, not a number".
    pub(super) const fn describe(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unsigned(_) => "a number",
            Self::Text(_) => "a string",
            Self::Other(what) => what,
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
        Ok(Scalar::Other("a negative number"))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Unsigned(value))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other("not a whole number of 64 bits"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_appear_once_in_each_object() {
        let good = [
            r#"{"a":1,"b":{"a":[{"a":1},{"a":2.5}]}}"#,
            "{}",
            r#"{"a":null,"A":true}"#,
        ];
        for text in good {
            assert!(
                TopLevelKeys::of("manifest", text.as_bytes(), &DocumentLimits::default()).is_ok(),
                "{text}"
            );
        }
        let bad = [
            r#"{"a":1,"a":1}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[[{"a":1,"\u0061":2}]]}"#,
            "[]",
            "1",
            "",
            "{",
            r#"{"a":1} {}"#,
            "<html>",
            "\u{feff}{}",
        ];
        for text in bad {
            assert!(
                TopLevelKeys::of("manifest", text.as_bytes(), &DocumentLimits::default()).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| {
            let lists = levels - 1;
            format!(r#"{{"a":{}{}}}"#, "[".repeat(lists), "]".repeat(lists))
        };
        let at_most = |json_depth| DocumentLimits {
            json_depth,
            ..DocumentLimits::default()
        };
        let keys =
            |levels, limits| TopLevelKeys::of("manifest", nested(levels).as_bytes(), &limits);
        let largest = DocumentLimits::LARGEST.json_depth;
        for limit in [8, largest] {
            assert!(keys(limit, at_most(limit)).is_ok(), "{limit}");
            let refused = keys(limit + 1, at_most(limit)).unwrap_err().to_string();
            assert!(
                refused.ends_with(&format!("exceeds the limit json_depth of {limit}")),
                "{refused}"
            );
        }
        let refused = keys(200_000, at_most(8)).unwrap_err();
        assert!(matches!(refused, DocumentError::Limit(_)), "{refused}");
    }

    #[test]
    fn keys_that_differ_in_case_only_are_found() {
        let keys = TopLevelKeys::of(
            "manifest",
            br#"{"Layers":[],"config":{}}"#,
            &DocumentLimits::default(),
        )
        .unwrap();
        assert_eq!(keys.case_variant_of(&["layers", "config"]), Some("Layers"));
        assert_eq!(keys.case_variant_of(&["Layers", "config"]), None);
    }

    #[test]
    fn scalars_say_what_they_are() {
        let cases = [
            ("7", Scalar::Unsigned(7)),
            ("\"x\"", Scalar::Text("x".into())),
            ("-1", Scalar::Other("a negative number")),
            ("1.5", Scalar::Other("not a whole number of 64 bits")),
            (
                "18446744073709551616",
                Scalar::Other("not a whole number of 64 bits"),
            ),
            ("null", Scalar::Other("null")),
            ("[1,[2]]", Scalar::Other("an array")),
            ("{\"a\":{}}", Scalar::Other("an object")),
        ];
        for (text, expected) in cases {
            assert_eq!(
                serde_json::from_str::<Scalar>(text).unwrap(),
                expected,
                "{text}"
            );
        }
    }
}
