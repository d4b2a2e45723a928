"""Requests signed for Amazon (Signature Version 4), by botocore: the optional dependency `aws`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from typing import Any

from pipeline.errors import ConfigError, SourceUnavailable

SIGNED = ("content-type",)  # of ours, beside those of the scheme: others may be changed on the way
SESSION_HEADER = "X-Amz-Security-Token"  # a header that a signature may come with
TIMEOUT_SECONDS = 10
CHAIN = "AWS_PROFILE, AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or a role of this machine or service account"


@dataclass(frozen=True)
class Signer:
    """Signs for one region and service with what botocore's own chain finds, renewed as it expires.

    Attributes:
        region: of the endpoint.
        service: of its signatures.
        profile: of the user's AWS files, None for the chain's own choice.
        role_arn: a role to assume with what was found.
    """

    region: str
    service: str = "aps"
    profile: str | None = None
    role_arn: str | None = None

    def check(self) -> None:
        """Whether requests can be signed at all; asks nobody.

        Raises:
            ConfigError: the extra is not installed, or no such profile is there.
        """
        errors = _botocore("exceptions")
        try:
            self._session.get_component("credential_provider")
        except errors.BotoCoreError as error:
            raise ConfigError(f"sigv4: {error}") from None

    def signed(self, method: str, url: str, headers: Mapping[str, str], body: bytes | str | None) -> dict[str, str]:
        """The headers that a request needs besides its own; its address is sent as it is given here.

        Raises:
            ConfigError: no credentials are found, or the role refuses them.
            SourceUnavailable: whoever gives credentials does not answer.
        """
        kept = {name: value for name, value in headers.items() if name.lower() in SIGNED}
        data = body.encode() if isinstance(body, str) else body
        request = _botocore("awsrequest").AWSRequest(method=method, url=url, headers=kept, data=data)
        errors = _botocore("exceptions")
        try:
            if self._credentials is None:
                raise ConfigError(f"sigv4 finds no AWS credentials: set {CHAIN}")
            frozen = self._credentials.get_frozen_credentials()
            _botocore("auth").SigV4Auth(frozen, self.service, self.region).add_auth(request)
        except (errors.BotoCoreError, errors.ClientError) as error:
            passes = (errors.ConnectionError, errors.HTTPClientError, errors.MetadataRetrievalError)
            if isinstance(error, passes) or _status(error) in (429, *range(500, 600)):
                raise SourceUnavailable(f"sigv4 gets no AWS credentials now: {error}") from None
            raise ConfigError(f"sigv4 gets no AWS credentials: {error}") from None
        return {name: value for name, value in request.headers.items() if name.lower() not in SIGNED}

    @cached_property
    def _session(self) -> Any:  # noqa: ANN401 # botocore has no types
        session = _botocore("session").Session(profile=self.profile)
        session.set_config_variable("region", self.region)
        return session

    @cached_property
    def _credentials(self) -> Any:  # noqa: ANN401 # botocore has no types
        found = self._session.get_credentials()
        if found is None or self.role_arn is None:
            return found
        config = _botocore("config").Config(
            connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 2}
        )
        credentials = _botocore("credentials")
        fetcher = credentials.AssumeRoleCredentialFetcher(
            partial(self._session.create_client, region_name=self.region, config=config),
            found,
            self.role_arn,
            {"RoleSessionName": "carbon-etl"},
        )
        return credentials.DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


def _status(error: Any) -> int:  # noqa: ANN401 # botocore has no types
    """HTTP status of an answer that is an error, 0 without an answer."""
    return int(getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _botocore(module: str) -> Any:  # noqa: ANN401 # botocore has no types
    """A module of botocore, imported where it is needed: most endpoints are not Amazon's."""
    try:
        return import_module(f"botocore.{module}")
    except ModuleNotFoundError:
        raise ConfigError('sigv4 needs botocore: pip install "carbon-etl[aws]"') from None
