use std::path::{Path, PathBuf};

use crate::{
    schema::{Kind, visit_values},
    yaml::{Node, Scalar, Value},
};

/// Joins every relative path in the document to `folder`, as Prometheus does with the folder of the file it read them from.
pub(crate) fn resolve(kind: &'static Kind, root: &mut Node, folder: &Path) {
    visit_values(kind, root, &mut |kind, node| {
        if let (Kind::Path | Kind::Pattern | Kind::TargetFile, Value::Scalar(scalar)) = (kind, &mut node.value) {
            let path = scalar.as_text();
            if !path.is_empty() && !path.starts_with('/') {
                let joined = folder.join(path.strip_prefix("./").unwrap_or(path));
                // Lossless: the folder of a configuration whose name is not UTF-8 could not be written into YAML anyway.
                *scalar = Scalar::text(joined.to_string_lossy());
            }
        }
    });
}

/// The folder that has to be watched for new matches of a pattern, if it is one folder.
pub(crate) fn folder_of_pattern(pattern: &str) -> Option<PathBuf> {
    let folder = Path::new(pattern).parent()?;
    let is_pattern = folder.to_str().is_none_or(|text| text.contains(['*', '?', '[']));
    (!is_pattern && folder != Path::new("")).then(|| folder.to_owned())
}
