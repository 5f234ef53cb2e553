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

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use tower::BoxError;

    use super::*;
    use crate::client::MACHINES;

    /// An API server that says this at these paths, and elsewhere what a proxy says that does not find it.
    fn server(answers: &'static [(&'static str, &'static str)]) -> Client {
        let service = move |request: Request<Body>| {
            let answer = answers.iter().find(|(path, _)| *path == request.uri().path());
            let (status, body) = answer.map_or((404, "no such backend"), |(_, body)| (200, *body));
            async move { Ok::<_, BoxError>(Response::builder().status(status).body(Body::from(body.as_bytes().to_vec()))?) }
        };
        Client::new(tower::service_fn(service), "default")
    }

    const GROUPS: &str = r#"{"kind": "APIGroupList", "groups": [{"name": "cluster.x-k8s.io", "versions": []}]}"#;
    const GROUP: &str = r#"{"kind": "APIGroup", "name": "cluster.x-k8s.io", "versions": [
        {"groupVersion": "cluster.x-k8s.io/v1beta1", "version": "v1beta1"},
        {"groupVersion": "cluster.x-k8s.io/v1beta2", "version": "v1beta2"}]}"#;
    const CLUSTERS: &str = r#"{"kind": "APIResourceList", "groupVersion": "cluster.x-k8s.io/v1beta2", "resources": [
        {"name": "clusters", "singularName": "cluster", "namespaced": true, "kind": "Cluster", "verbs": []}]}"#;
    const ALL: &str = r#"{"kind": "APIResourceList", "groupVersion": "cluster.x-k8s.io/v1beta1", "resources": [
        {"name": "machines", "singularName": "machine", "namespaced": true, "kind": "Machine", "verbs": []}]}"#;

    async fn version(answers: &'static [(&'static str, &'static str)]) -> Result<Option<String>, ApiError> {
        Ok(discover(&server(answers), &MACHINES[0]).await?.map(|resource| resource.version))
    }

    #[tokio::test]
    async fn the_best_version_with_machines_in_it_is_taken() {
        const V1: &str = "/apis/cluster.x-k8s.io/v1beta1";
        const V2: &str = "/apis/cluster.x-k8s.io/v1beta2";
        let found = version(&[("/apis/cluster.x-k8s.io", GROUP), (V1, ALL), (V2, ALL)]).await;
        assert_eq!(found.unwrap().as_deref(), Some("v1beta2"));
        let found = version(&[("/apis/cluster.x-k8s.io", GROUP), (V1, ALL), (V2, CLUSTERS)]).await;
        assert_eq!(found.unwrap().as_deref(), Some("v1beta1"));
        let found = version(&[("/apis/cluster.x-k8s.io", GROUP), (V1, CLUSTERS), (V2, CLUSTERS)]).await;
        assert_eq!(found.unwrap(), None);
    }

    #[tokio::test]
    async fn a_kind_is_unknown_only_where_the_api_server_says_so() {
        assert!(version(&[]).await.is_err());
        assert!(version(&[("/apis", GROUPS)]).await.is_err());
        assert!(version(&[("/apis/cluster.x-k8s.io", GROUP)]).await.is_err());
        assert_eq!(version(&[("/apis", r#"{"kind": "APIGroupList", "groups": []}"#)]).await.unwrap(), None);
    }
}
