//! Which kernel this is, where trying a thing out would cost or make noise.

/// Major and minor version, as in `6.18`.
pub(crate) type Version = (u32, u32);

/// The running kernel's version; `None` if its release is not understood.
pub(crate) fn version() -> Option<Version> {
    parse_release(&rustix::system::uname().release().to_string_lossy())
}

/// Major and minor version of a release like `6.18.44-fc-v657`.
pub(crate) fn parse_release(release: &str) -> Option<Version> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_understood() {
        for (text, want) in [
            ("6.18.44-fc-v657", Some((6, 18))),
            ("5.10.0-30-amd64", Some((5, 10))),
            ("6.1", Some((6, 1))),
            ("nonsense", None),
        ] {
            assert_eq!(parse_release(text), want, "{text}");
        }
    }
}
