from .architectures import BUILDERS as BUILDERS
from .dense import read_architecture as read_architecture
from .dense import save_dense as save_dense
from .detector_weights import fingerprint as fingerprint
from .detector_weights import identify as identify
from .detector_weights import read_weights as read_weights
from .known import KNOWN as KNOWN
from .known import Identity as Identity
