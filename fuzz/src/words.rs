//! Short texts.

use rocker_types::ImageRef;

/// What a user or an archive calls an image. Whatever is taken reads the same in both its
/// forms, and is safe as a path component and in a URL.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(reference) = text.parse::<ImageRef>() else {
        return;
    };
    for form in [reference.canonical(), reference.familiar()] {
        let again = form.parse::<ImageRef>();
        assert_eq!(again.as_ref(), Ok(&reference), "{text:?} as {form:?}");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let repository = reference.repository();
    assert!(repository.chars().all(plain), "{repository:?}");
    assert!(
        repository
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..")),
        "{repository:?}"
    );
    assert!(reference.registry().is_ascii() && !reference.registry().contains('/'));
}

/// The `WWW-Authenticate` header of a registry on https: passwords go to nobody else but https.
#[cfg(fuzzing)]
pub fn challenge(data: &[u8]) {
    let text = std::str::from_utf8(data).unwrap_or_default();
    if let Some(service) = rocker_image::registry::token_service(text) {
        assert!(service.starts_with("https://"), "{service}");
    }
}
