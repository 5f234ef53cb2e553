//! Helm, and the chart of this repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::binary;

/// The chart's folder.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/countersign")
}

/// Helm, with everything that it keeps in a folder of its own.
pub struct Helm {
    binary: PathBuf,
    home: PathBuf,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// Helm without a cluster.
    pub fn offline(home: &Path) -> Result<Self> {
        Ok(Self { binary: binary::helm()?.locate()?, home: home.to_owned(), kubeconfig: None })
    }

    /// Helm for the cluster of a kubeconfig.
    pub fn of(kubeconfig: &Path) -> Result<Self> {
        let home = kubeconfig.parent().context("a kubeconfig without a directory")?;
        Ok(Self { kubeconfig: Some(kubeconfig.to_owned()), ..Self::offline(home)? })
    }

    /// Runs it, and gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("HOME", &self.home).env_remove("KUBECONFIG");
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let output = command.output().context("run helm")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("helm {}: {}", arguments.join(" "), said.trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs it; it has to refuse. Gives what it said.
    pub fn refused(&self, arguments: &[&str]) -> Result<String> {
        match self.run(arguments) {
            Ok(printed) => bail!("helm {} was not refused: {printed}", arguments.join(" ")),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// Packages the chart, and gives the archive.
    pub fn package(&self) -> Result<PathBuf> {
        let chart = chart();
        self.run(&["package", path(&chart)?, "--destination", path(&self.home)?])?;
        let archive = self.home.join(format!("countersign-{}.tgz", env!("CARGO_PKG_VERSION")));
        ensure!(archive.exists(), "the packaged chart is not {}", archive.display());
        Ok(archive)
    }
}

/// A path as an argument.
pub fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
