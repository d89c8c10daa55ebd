"""The contract suites of the ports that a host may replace: pytest classes to subclass.

Each suite shows what ubr relies on. The adapters of ubr pass the same suites. A subclass overrides the fixture that
raises `NotImplementedError`, and may add tests of its own:

    class TestMyMailer(MailerContract):
        @pytest.fixture
        def bench(self): ...

The tests are coroutines on asyncio. They run with the pytest plugin of anyio, or with pytest-asyncio in its mode
`auto`.
"""

from ubr.testing.contracts.change_notifier import ChangeNotifierContract, Heard
from ubr.testing.contracts.mailer import MailerBench, MailerContract
from ubr.testing.contracts.slow_hasher import SlowHasherContract

__all__ = ["ChangeNotifierContract", "Heard", "MailerBench", "MailerContract", "SlowHasherContract"]
