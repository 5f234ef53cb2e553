//! Which kinds of object the API server has. That something is not found says little: it may be something on the way that
//! does not find it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Resource};

use super::MachineKind;
use super::failure::{ApiError, call};

/// Whether the API server itself says that it has objects of this kind.
pub(crate) async fn is_served<K: Resource<DynamicType = ()>>(client: &Client) -> kube::Result<bool> {
    let list = if K::group(&()).is_empty() {
        client.list_core_api_resources(&K::version(&())).await?
    } else {
        client.list_api_group_resources(&K::api_version(&())).await?
    };
    Ok(list.resources.iter().any(|resource| resource.name == K::plural(&())))
}

/// The version in which the API server serves a kind of Machine; none where it does not know it.
pub(crate) async fn discover(client: &Client, kind: &MachineKind) -> Result<Option<ApiResource>, ApiError> {
    const PLURAL: &str = "machines";
    let what = "looking for Machines";
    let Some(group) = group(client, kind.group, what).await? else { return Ok(None) };
    let is_served = |version: &&&str| group.versions.iter().any(|served| served.version == **version);
    for version in kind.versions.iter().filter(is_served) {
        let kinds = call(what, client.list_api_group_resources(&format!("{}/{version}", kind.group))).await?;
        // The group may be there for other kinds alone.
        if kinds.resources.iter().any(|resource| resource.name == PLURAL) {
            let machine = GroupVersionKind::gvk(kind.group, version, "Machine");
            return Ok(Some(ApiResource::from_gvk_with_plural(&machine, PLURAL)));
        }
    }
    Ok(None)
}

async fn group(client: &Client, name: &str, what: &'static str) -> Result<Option<APIGroup>, ApiError> {
    let request = http::Request::get(format!("/apis/{name}")).body(Vec::new());
    let request = request.map_err(|error| ApiError::Call { what, error: kube::Error::HttpError(error) })?;
    match call(what, client.request(request)).await {
        Ok(group) => Ok(Some(group)),
        Err(error) if error.code() == Some(404) => {
            let groups = call(what, client.list_api_groups()).await?;
            if groups.groups.iter().any(|group| group.name == name) { Err(error) } else { Ok(None) }
        }
        Err(error) => Err(error),
    }
}
