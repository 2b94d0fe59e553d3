import sys

from xpert_agent.cli import main

sys.exit(main())
