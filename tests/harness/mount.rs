//! A folder that changes as a mounted ConfigMap does: by the swap of one symbolic link.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

/// The folder.
pub struct Mount {
    folder: PathBuf,
    version: AtomicU32,
}

impl Mount {
    /// An empty folder, made here.
    pub fn new(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, version: AtomicU32::new(1) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Puts these files, all at once, in the place of those before.
    pub fn swap<N: AsRef<Path>, T: AsRef<[u8]>>(&self, files: impl IntoIterator<Item = (N, T)>) -> Result<()> {
        let version = format!("..{}", self.version.fetch_add(1, Ordering::Relaxed));
        let data = self.folder.join(&version);
        fs::create_dir(&data)?;
        for (name, text) in files {
            fs::write(data.join(name.as_ref()), text)?;
            let link = self.folder.join(name.as_ref());
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(name.as_ref()), link)?;
            }
        }
        let new = self.folder.join("..data_tmp");
        symlink(version, &new)?;
        fs::rename(new, self.folder.join("..data"))?;
        Ok(())
    }
}
