"""What the objects of one installation are called: two products in a namespace have names of their own."""

from typing import NamedTuple

NAME, PART_OF = "app.kubernetes.io/name", "app.kubernetes.io/part-of"
DARK = "inference-dark"


class Names(NamedTuple):
    """The names that the charts give, by that of the installation (`beacon.installation` of charts/beacon-lib)."""

    installation: str = "beacon"

    @property
    def inference(self) -> str:
        """Inference's Deployment, and its Helm release where it has one of its own."""
        return f"{self.installation}-inference"

    @property
    def canary(self) -> str:
        """The second Deployment."""
        return f"{self.inference}-canary"

    @property
    def promotion(self) -> str:
        """Promotion's notes and its lock, and who it is to the API."""
        return f"{self.installation}-promotion"

    @property
    def serving(self) -> str:
        """The selector of the pods that answer users."""
        return f"{NAME}=inference,{PART_OF}={self.installation}"

    @property
    def dark_pods(self) -> str:
        """The selector of the pods that no user reaches."""
        return f"{NAME}={DARK},{PART_OF}={self.installation}"

    def dark(self, number: int | str) -> str:
        """One of those pods; an empty `number`: how the names of all begin."""
        return f"{self.installation}-{DARK}-{number}"


BEACON = Names()
"""Those of the installation that has no other name."""
