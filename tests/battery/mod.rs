//! The battery of bad input: tables of references, documents, layers and bombs, each tried on an
//! empty store and on one that has the good image's layers already.
//!
//! Whatever a case is, it ends within the time of a command, with one line and the right exit
//! code, in bounded memory, and neither the store nor a bystander's files change.

mod bombs;
mod configs;
mod layers;
mod manifests;
mod odd_layers;
mod peers;
mod references;
mod registries;

use rocker_testkit::host::{Output, largest_program};
use rocker_testkit::image::{Image, ImageBuilder, Layer};
use rocker_testkit::leak::Snapshot;
use rocker_testkit::{Host, registry::Registry};

use crate::bad_input::{Victim, assert_one_error};

/// What no rocker may need for any of this, whatever an image asks for.
const MOST_MEMORY_BYTES: u64 = 128 << 20;

/// A host, and what no case may change.
struct Ground {
    host: Host,
    victim: Victim,
}

impl Ground {
    fn new(host: Host) -> Self {
        host.ok(["ps"]);
        let victim = Victim::new(&host);
        Self { host, victim }
    }

    /// A command is refused in one line that has `words`, and everything is as `before`.
    fn refuse(&self, case: &str, command: &[&str], words: &str, before: &Snapshot) {
        let output = self.host.rocker(command.iter().copied());
        assert_one_error(&output, 1);
        assert!(
            output.stderr.contains(words),
            "{case}: want {words:?}: {output:?}"
        );
        self.assert_bounded(case, &output);
        self.victim.assert_untouched(case);
        let lines = self.host.difference_from(before);
        assert!(lines.is_empty(), "{case}: {lines:#?}");
    }

    fn assert_bounded(&self, case: &str, output: &Output) {
        let bytes = largest_program();
        assert!(
            bytes <= MOST_MEMORY_BYTES,
            "{case} took {bytes} bytes: {output:?}"
        );
    }

    /// Refuses to pull every case, first into an empty store and then into one that has all that
    /// the good image has.
    fn refuse_all(&self, cases: &[Case]) {
        let registry = self.host.registry();
        let before = self.host.snapshot();
        for case in cases {
            let reference = (case.publish)(registry);
            self.refuse(case.name, &["pull", "-q", &reference], case.words, &before);
        }
        let good = registry.push("good:1", &good().build());
        self.host.ok(["pull", "-q", &good]);
        let warm = self.host.snapshot();
        for case in cases {
            let reference = (case.publish)(registry);
            let name = format!("{}, warm", case.name);
            self.refuse(&name, &["pull", "-q", &reference], case.words, &warm);
        }
        self.host.ok(["rmi", &good]);
        self.host.assert_unchanged_since(&before);
    }
}

/// Something that a registry has, and words of the refusal.
struct Case {
    name: &'static str,
    publish: Box<dyn Fn(&Registry) -> String>,
    words: &'static str,
}

/// A case that is a whole image.
fn image(name: &'static str, image: Image, words: &'static str) -> Case {
    let publish = Box::new(move |registry: &Registry| registry.push("liar:1", &image));
    Case {
        name,
        publish,
        words,
    }
}

/// The image that all liars look like: two small layers.
fn good() -> ImageBuilder {
    ImageBuilder::new()
        .layer(Layer::new().dir("etc", 0o755).file("etc/one", "one"))
        .layer(Layer::new().file("etc/two", "two"))
        .cmd(["/bin/true"])
}
