//! The only unsafe code: clone3, pidfds, the mount API, bpf, namespaces.
